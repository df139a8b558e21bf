"""Makes the documentation site: `make docs`.

`stage` gathers the pages under build/pages: docs/ as it is, documents from elsewhere, and a
reference that is written from the code, the proto files and the benchmarks' results. Zensical turns
them into build/docs, and ends with an error where a link leads nowhere.
"""
