# The image of Stanch. Build: docker build --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" -t stanch:0.1.0 .
# Debian, never Alpine: some of the locked libraries have no wheels for musl. Name your mirror of it, and best a
# digest, by --build-arg PYTHON_IMAGE=...
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ARG SOURCE_DATE_EPOCH=0
# Hashes in a random order would be written into bytecode.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH}
WORKDIR /build
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/stanch \
    && pip --python /opt/stanch/bin/python install --no-compile --only-binary :all: --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY policies policies
COPY remediations remediations
COPY receiver receiver
# What builds the wheel is in the lock, so nothing is fetched here. Bytecode that is checked by a hash has no time
# in it, and nobody could write it later: the root file system is read-only.
RUN pip --python /opt/stanch/bin/python install --no-compile --no-index --no-deps --no-build-isolation . \
    && pip --python /opt/stanch/bin/python uninstall --yes hatchling editables \
    && /opt/stanch/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/stanch/lib \
    && find /opt/stanch -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/stanch /opt/stanch
ENV PATH=/opt/stanch/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# By number: a cluster that wants no root cannot tell by a name.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080 9090
ENTRYPOINT ["stanch"]
CMD ["serve"]
