# The gateway: no torch, no Ray. Built from the project's root:
#   docker build -f deploy/docker/gateway.Dockerfile -t svdfarm-gateway:0.1.0 .
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/svdfarm && python -m venv /opt/build
COPY requirements/gateway.txt requirements/build.txt requirements/
RUN /opt/svdfarm/bin/pip install --no-cache-dir --require-hashes --no-deps --requirement requirements/gateway.txt
RUN /opt/build/bin/pip install --no-cache-dir --require-hashes --no-deps --requirement requirements/build.txt
COPY LICENSE README.md pyproject.toml ./
COPY client client
COPY farm farm
RUN /opt/build/bin/hatchling build --target wheel --directory dist
RUN /opt/svdfarm/bin/pip install --no-cache-dir --no-deps dist/*.whl

FROM python:3.11-slim-bookworm
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="svdfarm-gateway" \
      org.opencontainers.image.description="The gateway of a render farm for Stable Video Diffusion" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 svdfarm \
    && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin svdfarm
COPY --from=build /opt/svdfarm /opt/svdfarm
ENV PATH="/opt/svdfarm/bin:${PATH}" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /
EXPOSE 50051 50052 8080
ENTRYPOINT ["farm"]
CMD ["gateway"]
