# What the servers of scripts/services share. Sourced, with bash.
# shellcheck shell=bash

# A user and a password that every server knows; the password is awkward on purpose, in URLs and in configuration files.
# shellcheck disable=SC2034 # the servers' files use them
SERVICE_USER=trunkline SERVICE_PASSWORD='a secret/50%'

say() { printf '%-14s %s\n' "$1:" "$2" >&2; }

die() {
    echo "scripts/services: $*" >&2
    exit 1
}

is_root() { [ "$(id -u)" = 0 ]; }

# Sets STATE, the directory that really holds the state. The servers' own users must be able to reach it, which they cannot
# below a home directory like /root, and sockets need a short path: then the directory asked for becomes a link to another one.
find_state() {
    local wanted=${TRUNKLINE_SERVICES_DIR:-target/services}
    case "$wanted" in /*) ;; *) wanted="$PWD/$wanted" ;; esac
    WANTED=$wanted
    if [ -L "$wanted" ]; then
        STATE=$(readlink "$wanted")
    elif reachable "$wanted" && [ ${#wanted} -le 60 ]; then
        STATE=$wanted
    else
        STATE=/var/tmp/trunkline-services-$(printf '%s' "$wanted" | sha256sum | cut -c1-12)
    fi
}

reachable() { # PATH, which need not exist
    is_root || return 0
    local path=$1
    while [ ! -d "$path" ]; do path=$(dirname "$path"); done
    setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$path"
}

make_state() {
    mkdir -p "$(dirname "$WANTED")"
    mkdir -p "$STATE"
    [ -O "$STATE" ] || die "$STATE belongs to another user; set TRUNKLINE_SERVICES_DIR to a directory of your own"
    if [ "$STATE" != "$WANTED" ]; then ln -sfn "$STATE" "$WANTED"; fi
}

install_packages() { # the names, separated by white space
    local missing=() package
    command -v apt-get > /dev/null || { say packages "there is no apt-get; these must be there: ${1//$'\n'/ }"; return 0; }
    # shellcheck disable=SC2086 # words
    for package in $(printf "%s\n" $1 openssl | sort -u); do
        dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q ' installed$' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    local root=()
    if ! is_root; then
        root=(sudo -n)
        sudo -n true 2> /dev/null || die "packages are missing and this user may not install them; as root: apt-get install ${missing[*]}"
    fi
    say packages "installing ${missing[*]}"
    # Debian starts a server as soon as it is installed, unless this file forbids it.
    local policy=/usr/sbin/policy-rc.d ours=
    if [ ! -e "$policy" ]; then
        ours=1
        printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" > /dev/null
        "${root[@]}" chmod 755 "$policy"
    fi
    local log failed=
    log=$(mktemp)
    local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
    { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } > "$log" 2>&1 || failed=1
    if [ -n "$ours" ]; then "${root[@]}" rm -f "$policy"; fi
    [ -z "$failed" ] || tail -n 20 "$log" >&2
    rm -f "$log"
    [ -z "$failed" ] || die "apt-get could not install ${missing[*]}"
}

# Sets AS, the words before a command that make it run as a package's user with nothing of our environment. Without root
# everything runs as ourselves.
as_words() { # USER DIR
    AS=()
    if is_root; then AS=(setpriv "--reuid=$1" "--regid=$1" --init-groups); fi
    AS+=(env -i "PATH=$PATH" "LC_ALL=$LC_ALL" "HOME=$2")
}

as() { # USER DIR COMMAND...
    local AS dir=$2
    as_words "$1" "$dir"
    shift 2
    (cd "$dir" && exec "${AS[@]}" "$@" < /dev/null)
}

own() { # USER PATH...
    local user=$1
    shift
    if is_root; then chown -R "$user:" "$@"; fi
}

# The certificate that a server shows, readable by it alone. TRUNKLINE_SERVICES_CERTIFICATE names another one for a test.
certificates() { # USER DIR
    local shown="$STATE/tls/${TRUNKLINE_SERVICES_CERTIFICATE:-server}"
    mkdir -p "$2"
    cp "$shown.pem" "$2/server.pem"
    cp "$shown.key" "$2/server.key"
    cp "$STATE/tls/ca.pem" "$2/ca.pem"
    chmod 600 "$2/server.key"
    own "$1" "$2"
}

# Starts a server in the background, unless it runs. Its process stands in DIR/PIDNAME, and what it says in DIR/log.
daemon() { # USER DIR PIDNAME COMMAND...
    local AS user=$1 dir=$2 pidfile="$2/$3"
    shift 3
    if alive "$pidfile"; then return; fi
    as_words "$user" "$dir"
    (
        # Nothing of ours stays open in it, neither the lock nor a pipe that somebody reads to its end.
        exec {LOCK}>&- < /dev/null >> "$dir/log" 2>&1
        cd "$dir" || exit
        exec setsid "${AS[@]}" "$@"
    ) &
    echo "$! $(started $!)" > "$pidfile"
}

# When a process started, in ticks since boot; empty when there is none. With it a number that was used again is recognised.
started() { # PID
    local stat
    stat=$(cat "/proc/$1/stat" 2> /dev/null) || return 0
    stat=${stat##*) }
    # shellcheck disable=SC2086 # fields
    set -- $stat
    [ "$1" = Z ] || echo "${20}"
}

alive() { # PIDFILE
    local pid ticks
    { read -r pid ticks < "$1"; } 2> /dev/null || return 1
    [ -n "$ticks" ] && [ "$(started "$pid")" = "$ticks" ]
}

# A process and all that descend from it.
family() { # PID
    local child children
    echo "$1"
    children=$(cat "/proc/$1/task/"*/children 2> /dev/null) || true
    for child in $children; do family "$child"; done
}

# Ends a server: SIGNAL to the process, and after SECONDS, or at once with KILL, SIGKILL to all its family.
end_process() { # PIDFILE SIGNAL SECONDS
    local pidfile=$1 signal=$2 seconds=$3 pid all=() left
    alive "$pidfile" || { rm -f "$pidfile"; return 0; }
    read -r pid _ < "$pidfile"
    read -r -a all <<< "$(family "$pid" | tr '\n' ' ')"
    if [ "$signal" = KILL ]; then kill -KILL "${all[@]}" 2> /dev/null || true; else kill "-$signal" "$pid"; fi
    local deadline=$((SECONDS + seconds))
    while :; do
        left=()
        for pid in "${all[@]}"; do [ -z "$(started "$pid")" ] || left+=("$pid"); done
        [ ${#left[@]} -gt 0 ] || break
        if ((SECONDS >= deadline)); then kill -KILL "${left[@]}" 2> /dev/null || true; fi
        sleep 0.1
    done
    rm -f "$pidfile"
}

# Whether somebody listens on a port of 127.0.0.1.
listens() { # PORT
    (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null
}
