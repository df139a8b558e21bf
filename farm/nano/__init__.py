"""`nano`: a small Stable Video Diffusion of our own, and how it is trained and measured.

    python -m farm.nano.train               trains it, on a GPU or a CPU
    python -m farm.nano.evaluate FOLDER     measures it on photographs that training never saw

The VAE in this package is trained; the UNet is not done, and so the farm does not offer `nano`.
"""
