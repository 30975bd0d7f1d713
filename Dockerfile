# One recipe for every image: docker build --build-arg SERVICE=gateway .
# SERVICE is gateway, executor, llm-proxy, sandbox, memory, frontend or mlflow. It builds with and without
# BuildKit, so it has no cache mounts; where packages come from, and which authorities are trusted, is the base
# image's to say (/etc/pip.conf, /etc/uv/uv.toml, /etc/ssl/certs).
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS installer
ENV UV_SYSTEM_CERTS=true UV_NO_CACHE=true UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
COPY requirements/bootstrap.txt /build/requirements/
RUN python -m venv /build/installer \
    && /build/installer/bin/pip install --quiet --no-cache-dir --disable-pip-version-check \
        --require-hashes -r /build/requirements/bootstrap.txt
ENV PATH=/build/installer/bin:$PATH

FROM installer AS dependencies
ARG SERVICE
COPY requirements/${SERVICE}.txt /build/requirements/
# Compiled now, because at run time nothing can be written there. The .pth file makes the product's own packages,
# which live in a layer of their own, importable also where the environment is not passed on.
RUN uv venv --quiet --python python /opt/venv \
    && uv pip install --quiet --python /opt/venv/bin/python --no-deps --require-hashes --compile-bytecode \
        -r "/build/requirements/${SERVICE}.txt" \
    && /opt/venv/bin/python -c 'import pathlib, sysconfig; \
pathlib.Path(sysconfig.get_path("purelib"), "cadre.pth").write_text("/opt/cadre\n")'

FROM installer AS packages
ARG SERVICE
COPY . /build/
# Offline, so that nothing comes in that no requirements file names with its hash.
RUN mkdir /opt/cadre \
    && cd /build \
    && case "$SERVICE" in \
        mlflow) set -- ;; \
        frontend) set -- ./libs/client ./frontend ;; \
        executor) set -- ./libs/contracts ./libs/kit ./libs/client ./services/executor ;; \
        *) set -- ./libs/contracts ./libs/kit "./services/$SERVICE" ;; \
    esac \
    && if [ $# -gt 0 ]; then \
        uv pip install --quiet --offline --no-deps --compile-bytecode --target /opt/cadre "$@"; \
    fi

FROM ${BASE_IMAGE}
# Loopback inside a container reaches nobody; what is published, and on which address, compose.yaml decides.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 CADRE_HOME=/var/lib/cadre CADRE_HOST=0.0.0.0
# A new volume takes the owner of the folder that it is mounted on.
RUN groupadd --gid 10001 cadre \
    && useradd --uid 10001 --gid cadre --home-dir /var/lib/cadre --no-create-home --shell /usr/sbin/nologin cadre \
    && install -d -o cadre -g cadre -m 700 /var/lib/cadre /var/lib/cadre-key /var/lib/cadre-service
WORKDIR /var/lib/cadre
ARG SERVICE
# The embedded model's runtime is linked to OpenMP, which its wheel does not carry.
RUN if [ "$SERVICE" = llm-proxy ]; then \
        apt-get update --quiet=2 \
        && apt-get install --quiet=2 --yes --no-install-recommends libgomp1 \
        && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*; \
    fi
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=packages /opt/cadre /opt/cadre
USER cadre
