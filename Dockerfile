# The steps are those of scripts/serve, by the same scripts: scripts/setup while building, scripts/start when run.
# docker build -t wkdvid . && docker run -p 8000:8000 -v "$PWD/data:/data" --read-only --tmpfs /tmp wkdvid

FROM python:3.11-slim AS base
ENV PATH=/opt/venv/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN useradd --uid 1000 --no-create-home --home-dir /data wkdvid \
    && install --directory --owner=wkdvid --group=wkdvid /data
# Loopback inside a container reaches nobody, so it listens everywhere, and asks for a token where reading does not suffice.
ENV WKDVID_SERVER__HTTPADDRESS=0.0.0.0:8000 \
    WKDVID_ACCESS__MODE=token
EXPOSE 8000

# Only what decides which packages are needed, so that a change of the source does not install them anew.
FROM base AS dependencies
ENV WKDVID_VENV=/opt/venv
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY wkdvid/__init__.py wkdvid/
COPY scripts/setup scripts/
RUN scripts/setup clio,codecs,meshes,postgres,tiff,trace,viewer

# docker-compose mounts the source over /app.
FROM dependencies AS dev
RUN scripts/setup dev
ENV HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis \
    MYPY_CACHE_DIR=/tmp/mypy \
    PYTEST_ADDOPTS="-o cache_dir=/tmp/pytest" \
    RUFF_CACHE_DIR=/tmp/ruff
COPY . .
USER 1000
CMD ["scripts/serve", "--reload"]

# The wheel takes the place of the editable installation.
FROM dependencies AS builder
COPY wkdvid wkdvid
RUN python -m pip install --force-reinstall --no-deps --no-build-isolation .

FROM base AS server
COPY --from=builder /opt/venv /opt/venv
COPY scripts/start /usr/local/bin/wkdvid-start
COPY --chown=1000:1000 data/config.toml data/datasets.json /data/
USER 1000
WORKDIR /data
VOLUME /data
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s CMD \
    ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/live', timeout=4)"]
ENTRYPOINT ["wkdvid-start", "/data"]
