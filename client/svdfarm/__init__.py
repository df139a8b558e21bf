"""The client SDK of a render farm for Stable Video Diffusion."""
