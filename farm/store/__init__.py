"""The only truth of the farm: jobs, shots, leases and videos, in a database and a blob folder."""
