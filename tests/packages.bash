# shellcheck shell=bash
# Debian packages for a script that sources this: installed if they are missing, and without starting their services.
# The script has a folder $scratch, and calls `allow_services` on its way out.

POLICY=/usr/sbin/policy-rc.d
POLICY_BEFORE=$POLICY.before-replyd
POLICY_MARK="of replyd's tests/run"

policy='' # what to do with $POLICY at the end: restore or remove
as_root=()

has() {
    command -v "$1" >/dev/null
}

# ensure_programs PROGRAM:PACKAGES…: installs the packages of those that are missing.
ensure_programs() {
    local entry packages=()
    for entry in "$@"; do
        has "${entry%%:*}" || packages+=("${entry#*:}")
    done
    read -ra packages <<<"${packages[*]}"
    ensure_packages "${packages[@]}"
}

ensure_packages() {
    if [[ $# != 0 ]] && may_install "$*"; then
        echo "installing $*"
        quietly install_packages "$@" || echo "could not install all of: $*"
    fi
}

# Prints what a command says only if it fails.
quietly() {
    "$@" >"$scratch/output" 2>&1 </dev/null && return
    cat "$scratch/output"
    return 1
}

# Whether packages can be installed here, and how: as root, or by sudo.
may_install() {
    if ! has apt-get; then
        echo "no apt-get here; missing: $1"
        return 1
    fi
    if [[ $EUID != 0 ]]; then
        if ! has sudo; then
            echo "not root, and no sudo; missing: $1"
            return 1
        fi
        as_root=(sudo)
        sudo --validate
    fi
}

install_packages() {
    local installed=0 service
    # Not under `set -e`: the caller looks at what comes back.
    forbid_services || return
    "${as_root[@]}" apt-get --quiet update || :
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get --quiet --yes --no-install-recommends install "$@" || installed=$?
    allow_services
    # They would start with the machine else. nginx is in packages whose names begin with it.
    for service in haproxy nginx prometheus xinetd; do
        if [[ " $* " = *" $service"* ]] && has systemctl; then
            "${as_root[@]}" systemctl --quiet disable "$service.service" || :
        fi
    done
    return "$installed"
}

# Has packages not start their services: invoke-rc.d asks this program, and 101 is no.
forbid_services() {
    # A run that was killed may have left its own.
    if [[ -e $POLICY ]] && ! grep -q "$POLICY_MARK" "$POLICY"; then
        "${as_root[@]}" cp --archive "$POLICY" "$POLICY_BEFORE" || return
    fi
    policy=remove
    [[ ! -e $POLICY_BEFORE ]] || policy=restore
    printf '#!/bin/sh\n# %s\nexit 101\n' "$POLICY_MARK" >"$scratch/policy"
    "${as_root[@]}" install --mode=755 "$scratch/policy" "$POLICY"
}

allow_services() {
    case $policy in
    restore) "${as_root[@]}" mv "$POLICY_BEFORE" "$POLICY" ;;
    remove) "${as_root[@]}" rm -f "$POLICY" ;;
    esac
    policy=''
}
