"""OpenAI's /v1/videos: one video is one job of one shot."""
