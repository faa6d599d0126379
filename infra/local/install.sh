#!/usr/bin/env bash
# Make the virtual environment and install everything that is pinned, by hash.
# Usage: install.sh FOLDER. Safe to repeat; needs Python 3.11 or newer, and nothing else.
set -euo pipefail
venv=$1

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null && is_new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    return 1
}

fail() {
    echo "make: $*" >&2
    exit 2
}

apt_install() {
    apt-get update -qq >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

may_apt() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null
}

ensure_python() {
    find_python >/dev/null && return
    if may_apt; then
        echo "installing Python (apt-get install python3 python3-venv) ..."
        apt_install python3 python3-venv
    fi
    find_python >/dev/null || fail "Python 3.11 or newer is missing; install it with:" \
        "$(if command -v brew >/dev/null; then echo brew install python; else echo sudo apt-get install python3 python3-venv; fi)"
}

ensure_venv_module() {
    "$1" -c 'import venv, ensurepip' 2>/dev/null && return
    local package
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    may_apt || fail "Python's venv module is missing; install it with: sudo apt-get install $package"
    echo "installing $package (apt-get) ..."
    apt_install "$package"
}

make_venv() {
    local python
    if [ -x "$venv/bin/python" ] && is_new_enough "$venv/bin/python" &&
        "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    ensure_python
    python=$(find_python)
    ensure_venv_module "$python"
    echo "making $venv with $("$python" --version) ..."
    "$python" -m venv --clear "$venv"
}

# uv installs in a few seconds what takes pip a minute; pip can do it all the same.
install_pinned() {
    local pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet)
    echo "installing the pinned dependencies ..."
    if "${pip[@]}" install --require-hashes -r requirements/bootstrap.txt; then
        if "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --require-hashes \
            -r requirements/dev.txt; then
            return
        fi
        echo "uv could not install them; trying pip ..." >&2
    fi
    "${pip[@]}" install --require-hashes -r requirements/dev.txt
}

# The checkout itself: an editable install, built with the pinned setuptools.
install_checkout() {
    "$venv/bin/python" -m pip --disable-pip-version-check --quiet install --no-deps \
        --no-build-isolation --editable .
}

make_venv
install_pinned
install_checkout
