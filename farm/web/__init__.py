"""The HTTP side: OpenAI's /v1/videos and the web page, each a client of the gateway's own gRPC."""
