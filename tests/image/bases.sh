#!/bin/sh
# Makes stand-ins for the bases of the image from Debian's packages and the Rust of this machine: localhost/stand-in-build
# and localhost/stand-in-run. The second has what distroless/cc has: the C library, the authorities' certificates, the
# user 65532, and no shell. Needs root.
set -eu
[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
mkdir -p "$1"
into=$(cd "$1" && pwd)
readonly suite=bookworm
certificates=/etc/ssl/certs/ca-certificates.crt

# import FOLDER NAME [CHANGE...]: makes an image of a folder.
import() {
    folder=$1 name=$2
    shift 2
    for change in "$@"; do set -- "$@" --change "$change"; shift; done
    tar -C "$folder" -c . | podman import --quiet "$@" - "$name"
}

if ! podman image exists localhost/stand-in-build; then
    rm -rf "$into/build"
    debootstrap --variant=minbase --include=gcc,libc6-dev,ca-certificates "$suite" "$into/build" >"$into/debootstrap.log"
    cp "$certificates" "$into/build$certificates"
    sysroot=$(rustc --print sysroot)
    cp -a "$sysroot/bin" "$sysroot/lib" "$into/build/usr/local/"
    import "$into/build" localhost/stand-in-build 'ENV CARGO_HOME=/usr/local/cargo' \
        'ENV PATH=/usr/local/cargo/bin:/usr/local/bin:/usr/bin:/bin'
    rm -rf "$into/build"
fi

if ! podman image exists localhost/stand-in-run; then
    rm -rf "$into/run" "$into/packages"
    mkdir -p "$into/run/etc/ssl/certs" "$into/run/tmp" "$into/packages"
    (cd "$into/packages" && apt-get -qq download base-files netbase tzdata libc6 libgcc-s1 libstdc++6 libgomp1 libssl3)
    for package in "$into"/packages/*.deb; do dpkg-deb --extract "$package" "$into/run"; done
    rm -rf "$into/run/usr/share/doc" "$into/run/usr/share/man"
    cp "$certificates" "$into/run$certificates"
    echo 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >"$into/run/etc/passwd"
    echo 'nonroot:x:65532:' >"$into/run/etc/group"
    import "$into/run" localhost/stand-in-run
fi
