"""The OpenAPI description of /v1, made from the same tables that the routes read with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farm.jobs.params import DEFAULTS, RANGES, SEED_MAX
from farm.web.videos.fields import FIELDS, TEXT

_ABOUT: Mapping[str, str] = {
    "num_frames": "How many frames; unset, the model's own number.",
    "num_inference_steps": "Denoising steps; unset, the model's own number.",
    "fps": "Frames a second that condition the motion.",
    "playback_fps": "Frames a second at which the video plays; unset, fps.",
    "motion_bucket_id": "More is more motion.",
    "noise_aug_strength": "Noise added to the image; more is further from it.",
    "min_guidance_scale": "Guidance of the first frame.",
    "max_guidance_scale": "Guidance of the last frame.",
    "decode_chunk_size": "Frames decoded at a time; unset, all together.",
    "seed": "The same one makes the same video; unset, the farm draws one and tells it.",
    "crf": "The codec's quality; less is better.",
    "codec": "h264, h265, av1, prores, ffv1 or png.",
    "fit": "How an image of another shape meets size: crop, pad or stretch.",
    "tier": "exact, or fast, which leaves much of the arithmetic out and changes the pixels.",
    "model": "A model of the farm, such as svd-xt; unset, what its workers serve.",
}
_NULLABLE_TEXT = {"type": ["string", "null"]}
_NULLABLE_WHOLE = {"type": ["integer", "null"]}


def openapi() -> dict[str, Any]:
    """The document that /openapi.json serves."""
    one = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    image = {"description": "The image to animate: a file, or a data: URL. PNG, JPEG, WebP."}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "svdfarm",
            "version": "1",
            "description": "OpenAI's /v1/videos for Stable Video Diffusion: an image becomes a "
            "video. SVD takes no text: prompt is accepted and not used.",
        },
        "security": [{}, {"token": []}],
        "paths": {
            "/v1/videos": {
                "post": {
                    "operationId": "createVideo",
                    "summary": "Queue a video",
                    "parameters": [
                        {
                            "name": "Idempotency-Key",
                            "in": "header",
                            "description": "The same key and content again: the same video.",
                            "schema": {"type": "string"},
                        }
                    ],
                    "requestBody": {
                        "required": True,
                        "content": {
                            "multipart/form-data": {
                                "schema": _wanted({**image, "type": "string", "format": "binary"})
                            },
                            "application/json": {"schema": _wanted({**image, "type": "string"})},
                        },
                    },
                    "responses": {
                        "200": _json("The video, queued", "Video"),
                        **_errors(400, 401, 403, 409, 413, 429, 503),
                    },
                },
                "get": {
                    "operationId": "listVideos",
                    "summary": "List videos, newest first",
                    "parameters": [
                        _query("limit", {"type": "integer", "minimum": 1, "maximum": 100}),
                        _query("after", {"type": "string"}),
                        _query("order", {"enum": ["desc", "asc"]}),
                    ],
                    "responses": {
                        "200": _json("A page", "VideoList"),
                        **_errors(400, 401, 404),
                    },
                },
            },
            "/v1/videos/{id}": {
                "parameters": [one],
                "get": {
                    "operationId": "getVideo",
                    "summary": "One video, as it is now",
                    "responses": {"200": _json("The video", "Video"), **_errors(401, 404)},
                },
                "delete": {
                    "operationId": "deleteVideo",
                    "summary": "Cancel and delete a video",
                    "responses": {
                        "200": _json("It is gone", "VideoDeleted"),
                        **_errors(401, 404, 409),
                    },
                },
            },
            "/v1/videos/{id}/content": {
                "parameters": [one],
                "get": {
                    "operationId": "getVideoContent",
                    "summary": "The video file, or the part that Range asks for",
                    "responses": {
                        "200": _file("The whole file; its ETag is the SHA-256"),
                        "206": _file("The part that Range asks for"),
                        **_errors(401, 404, 409, 416),
                    },
                },
            },
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(),
        },
    }


def _wanted(image: Mapping[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "input_reference": image,
        "prompt": {"type": "string", "description": "Accepted, empty or not, and not used."},
        "size": {
            "type": "string",
            "description": f"WIDTHxHEIGHT, such as 1024x576; each {RANGES['width_px']}.",
        },
        "seconds": {
            "type": ["string", "number"],
            "description": "Says num_frames by the rate that the video plays at.",
        },
    }
    properties |= {name: _setting(name) for name in FIELDS}
    return {
        "type": "object",
        "required": ["input_reference"],
        "properties": properties,
        "additionalProperties": False,
    }


def _setting(name: str) -> dict[str, Any]:
    field = FIELDS[name]
    told: dict[str, Any] = {"type": field.kind, "description": _ABOUT[name]}
    default = getattr(DEFAULTS, field.wire, None)
    if default is not None:
        told["default"] = str(default) if field.kind == TEXT else default
    if field.kind != TEXT:
        allowed = RANGES[field.wire]
        high = SEED_MAX if allowed.high == SEED_MAX else allowed.high
        told |= {"minimum": allowed.low, "maximum": high}
    return told


def _schemas() -> dict[str, Any]:
    error = {
        "message": {"type": "string"},
        "type": {"type": "string"},
        "param": _NULLABLE_TEXT,
        "code": {"type": "string"},
    }
    settings = {
        name: {"type": field.kind}
        for name, field in FIELDS.items()
        if name not in ("decode_chunk_size", "crf", "codec", "fit")
    }
    video = {
        "id": {"type": "string"},
        "object": {"const": "video"},
        "status": {"enum": ["queued", "in_progress", "completed", "failed"]},
        "progress": {"type": "integer", "minimum": 0, "maximum": 100},
        "created_at": {"type": "integer"},
        "completed_at": _NULLABLE_WHOLE,
        "expires_at": {"type": "null"},
        "size": {"type": "string"},
        "seconds": {"type": "string"},
        "prompt": {"type": "null"},
        "remixed_from_video_id": {"type": "null"},
        "error": {
            "type": ["object", "null"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
        },
        **settings,
    }
    page = {
        "object": {"const": "list"},
        "data": {"type": "array", "items": _ref("Video")},
        "has_more": {"type": "boolean"},
        "first_id": _NULLABLE_TEXT,
        "last_id": _NULLABLE_TEXT,
    }
    deleted = {
        "id": {"type": "string"},
        "object": {"const": "video.deleted"},
        "deleted": {"const": True},
    }
    return {
        "Video": _object(video),
        "VideoList": _object(page),
        "VideoDeleted": _object(deleted),
        "Error": _object({"error": _object(error)}),
    }


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(about: str, name: str) -> dict[str, Any]:
    return {"description": about, "content": {"application/json": {"schema": _ref(name)}}}


def _file(about: str) -> dict[str, Any]:
    return {"description": about, "content": {"video/mp4": {}}}


def _query(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": dict(schema)}


def _errors(*statuses: int) -> dict[str, Any]:
    about = {
        400: "Something in the request is not valid",
        401: "The farm wants a token, or another one",
        403: "The token is not good for this",
        404: "There is no such video",
        409: "Not now: the content is not ready, or the key was used for something else",
        413: "More than 16 MiB",
        416: "The range is not in the file",
        429: "A limit of the farm is reached",
        503: "The farm stops, or cannot reach its store",
    }
    return {str(status): _json(about[status], "Error") for status in statuses}
