"""What can go wrong between an image and its video.

RenderError
├── DeviceUnavailable           this machine lacks the device that was asked for
├── ModelUnavailable            no such model, or its files cannot be fetched
├── ModelInvalid                the folder is there and is not a checkpoint that we can load
│   └── VariantMissing          it lacks the weights of the precision asked for
├── ImageRejected               not a picture that the farm takes
├── SandboxUnavailable          no process to decode it in
├── ParamsRejected              settings that this model cannot render
├── RenderCancelled             the caller asked to stop
├── ClipNotFinite               NaN or infinity in the clip
├── EncodeFailed                ffmpeg did not make the video
│   ├── EncoderMissing          there is no ffmpeg to start
│   └── DiskFull                no room for the video
├── VideoBroken                 the video that was written is not the clip that was rendered
├── VideoUnreadable             a file that does not decode, or carries no receipt
└── InputsDiffer                a receipt's clip is not the one that can be rendered here

`reason` is the word that travels on the wire and in the store; it never changes meaning.
"""

from __future__ import annotations

from typing import ClassVar


class RenderError(Exception):
    """Rendering failed."""

    reason: ClassVar[str] = "RENDER_FAILED"


class DeviceUnavailable(RenderError):
    """This machine lacks the device that was asked for."""

    reason = "DEVICE_UNAVAILABLE"


class ModelUnavailable(RenderError):
    """There is no such model, or its files cannot be fetched from here."""

    reason = "MODEL_UNAVAILABLE"


class ModelInvalid(RenderError):
    """The folder is not a checkpoint of Stable Video Diffusion that can be loaded."""

    reason = "MODEL_INVALID"


class VariantMissing(ModelInvalid):
    """The checkpoint lacks the weights of the precision that was asked for."""

    reason = "MODEL_VARIANT_MISSING"


class ImageRejected(RenderError):
    """The bytes are not a picture that the farm takes."""

    reason = "IMAGE_REJECTED"


class SandboxUnavailable(RenderError):
    """The process that decodes images does not start on this machine."""


class ParamsRejected(RenderError):
    """The settings cannot be rendered with this model."""

    reason = "PARAMS_REJECTED"


class RenderCancelled(RenderError):
    """The render was cancelled."""

    reason = "CANCELLED"


class ClipNotFinite(RenderError):
    """The clip holds NaN or infinity: there is no picture to show."""

    reason = "CLIP_NOT_FINITE"


class EncodeFailed(RenderError):
    """Ffmpeg could not make the video; the message ends with its last lines."""

    reason = "ENCODE_FAILED"


class EncoderMissing(EncodeFailed):
    """There is no ffmpeg that can be started."""

    reason = "ENCODER_MISSING"


class DiskFull(EncodeFailed):
    """No room is left for the video; nothing was left behind."""

    reason = "DISK_FULL"


class VideoBroken(RenderError):
    """The video that was written does not decode to the frames that were asked for."""

    reason = "VIDEO_BROKEN"


class VideoUnreadable(RenderError):
    """The file does not decode as a video, or carries no receipt."""

    reason = "VIDEO_UNREADABLE"


class InputsDiffer(RenderError):
    """A clip cannot be rendered again here: its image, model or settings are others."""

    reason = "INPUTS_DIFFER"
