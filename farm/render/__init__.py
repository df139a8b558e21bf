"""Stable Video Diffusion as a library: an image and settings in, a video with its receipt out.

It knows neither ray nor grpc. Import the module that you need (`farm.render.engine`, ...): this
package itself loads nothing, so that the gateway can read a model's defaults without torch.
"""
