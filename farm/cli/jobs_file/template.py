"""The jobs.yaml that `farm init` writes."""

TEMPLATE = """\
# A job for the farm: every item of `shots` becomes one video, or more with a sweep.
# To see what it makes:   farm submit jobs.yaml --dry-run
# To render it:           farm submit jobs.yaml --out out

name: my-first-job
# priority: 0                    # 0 to 100; higher runs first
# webhook: https://example.com/hooks/farm   # told when the job has ended

# What every shot gets unless it says otherwise. All of it may be left out.
defaults:
  # model: svd-xt                # svd: 14 frames, svd-xt: 25; nano: small, on a CPU too
  # size: 1024x576               # multiples of 8; default: the model's own
  fit: crop                      # an image of another shape: crop, pad or stretch
  # frames: 25                   # 1 to 128; default: the model's own
  # steps: 25                    # 1 to 200; more is finer and slower
  fps: 7                         # the motion's speed, which the model was trained with
  # playback_fps: 7              # the video's own speed; default: fps
  motion_bucket_id: 127          # 0 to 255; more is more motion
  noise_aug_strength: 0.02       # 0 to 10; more is further from the image
  min_guidance_scale: 1.0        # guidance of the first frame ...
  max_guidance_scale: 3.0        # ... rising to that of the last one
  # decode_chunk_size: 8         # frames decoded at a time; default: all together
  # tier: fast                   # much of the arithmetic left out; changes pixels; default: exact

# Where the videos go and what they are called. Fields for the name: {shot} {index} {model} {seed}
# {width} {height} {frames} {steps} {fps} {motion_bucket_id} {noise_aug_strength} and so on.
output:
  dir: out
  name: "{shot}.{extension}"
  codec: h264                    # plays everywhere; or h265, av1, prores, ffv1, png (zipped frames)
  # crf: 17                      # less is better and larger; default: what looks like the frames

shots:
  # A path is relative to this file. http(s) and data URLs are fetched by your machine.
  - name: rocket
    image: images/rocket.jpg
    seed: 42                     # the same seed gives the same video; left out, one is drawn

  # One shot for each file that matches:
  # - image: "frames/*.png"

  # One shot for each combination of values, here twelve, called wild-01 to wild-12:
  # - name: wild
  #   image: images/rocket.jpg
  #   sweep: {motion_bucket_id: [60, 127, 180], seed: "1-4"}
  #   combine: product           # or zip: first with first, second with second
"""
