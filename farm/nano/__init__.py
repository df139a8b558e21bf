"""`nano`: a small Stable Video Diffusion of our own, its weights and how they were trained.

python -m farm.nano.train           trains it further, on a GPU or a CPU
python -m farm.nano.evaluate        measures it on photographs that training never saw
"""
