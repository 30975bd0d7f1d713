#!/usr/bin/env bash
# Makes a stand-in for the image that Dockerfile starts from, where no registry can be reached: a minimal Debian
# with Debian's Python under the official image's names, trusting the authorities that this machine trusts.
# An image of that name that is there, or can be pulled, is left as it is. Ends with 3 where it cannot make one.
set -euo pipefail

image=python:3.11-slim-bookworm
suite=bookworm
pull_seconds=180

have_image() { docker image inspect "$image" > /dev/null 2>&1; }

pull_image() { timeout "$pull_seconds" docker pull --quiet "$image" > /dev/null 2>&1; }

# The mirror that this machine's apt uses; none is printed where it has no such suite.
mirror() {
    { apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' || true; } 2> /dev/null |
        awk -v suite="$suite" '$2 == suite && $3 == "main" && !seen++ { print $1 }'
}

unpack_debian() { # unpack_debian ROOT
    # Without a mirror of this machine's, debootstrap takes Debian's own.
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv \
        "$suite" "$1" $(mirror) > "$1.log" 2>&1 || { tail -n 20 "$1.log" >&2; return 1; }
}

name_python_as_official_image() { # name_python_as_official_image ROOT
    for name in python python3 python3.11; do ln -s /usr/bin/python3.11 "$1/usr/local/bin/$name"; done
}

trust_what_host_trusts() { # trust_what_host_trusts ROOT
    cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/ca-certificates.crt"
    printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' > "$1/etc/pip.conf"
}

drop_what_no_image_needs() { # drop_what_no_image_needs ROOT
    rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/* "$1"/usr/share/{doc,man,locale,info}/*
}

import_image() { # import_image ROOT
    tar --create --numeric-owner --directory "$1" --exclude=./proc/* --exclude=./sys/* --exclude=./dev/* . |
        docker import --change 'CMD ["python3"]' --change 'ENV LANG=C.UTF-8' \
            --change 'LABEL io.cadre.stand-in=true' - "$image" > /dev/null
}

check_means() {
    if [ "$(id -u)" -eq 0 ] && command -v debootstrap > /dev/null; then return; fi
    echo "$image cannot be pulled, and making a stand-in needs root and debootstrap" >&2
    exit 3
}

if have_image || pull_image; then exit; fi
check_means
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir "$root"
# mktemp keeps its folder to its owner; the image's root folder is everybody's.
chmod 755 "$work" "$root"
unpack_debian "$root"
name_python_as_official_image "$root"
trust_what_host_trusts "$root"
drop_what_no_image_needs "$root"
import_image "$root"
echo "Made a stand-in for $image, which could not be pulled"
