#!/bin/bash
# Builds the committed guest modules: every C and Rust source here, into built/*.wasm. The .wat
# modules need no build, and toolchains.sh builds built/go_plain.wasm.
#
#   build.sh           rebuilds built/
#   build.sh --check   rebuilds elsewhere and compares every byte with built/; fails if any differs
#   build.sh NAME...   rebuilds the named modules in built/ only
#
# The result depends only on the toolchain: sources are named by relative paths, nothing contains a
# time, and debug sections are stripped. Other compiler versions produce other bytes, so the
# versions are pinned to those of Debian 12.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")"

# package, pinned version, a file that the package must have installed
toolchain="\
clang-14 1:14.0.6-12 /usr/bin/clang-14
lld-14 1:14.0.6-12 /usr/bin/wasm-ld-14
wasi-libc 0.0~git20220510.9886d3d-2 /usr/include/wasm32-wasi/wasi/api.h
libclang-rt-14-dev-wasm32 1:14.0.6-12 /usr/lib/llvm-14/lib/clang/14.0.6/lib/wasi/libclang_rt.builtins-wasm32.a
rustc 1.63.0+dfsg1-2 /usr/bin/rustc
libstd-rust-dev-wasm32 1.63.0+dfsg1-2 /usr/lib/rustlib/wasm32-wasi/lib"

need_toolchain() {
    local package version file found missing=0
    while read -r package version file; do
        found=$(dpkg-query -W -f '${Version}' "$package" 2>/dev/null || true)
        if [[ ! -e $file ]]; then
            echo "build.sh: $package is missing: Debian 12 version $version is needed ($file)" >&2
            missing=1
        elif [[ $found != "$version" ]]; then
            echo "build.sh: $package is ${found:-not from a package}, pinned is $version: the bytes may differ" >&2
        fi
    done <<<"$toolchain"
    if ((missing)); then
        echo "build.sh: apt-get install $(cut -d' ' -f1 <<<"$toolchain" | xargs)" >&2
        exit 2
    fi
}

out=built
only=()

# All that clang finds on its path. With a `wasm-opt` there, it would run that over each module.
linker=$(mktemp -d)
trap 'rm -rf "$linker"' EXIT
ln -s /usr/bin/wasm-ld-14 "$linker/"

wanted() {
    ((${#only[@]} == 0)) && return 0
    local name
    for name in "${only[@]}"; do [[ $name == "$1" ]] && return 0; done
    return 1
}

# c NAME FLAGS -- FILES: builds a module from c/FILES and the helpers of c/library.
c() {
    local name=$1 flags=()
    shift
    while [[ $1 != -- ]]; do flags+=("$1") && shift; done
    shift
    wanted "$name" || return 0
    PATH=$linker /usr/lib/llvm-14/bin/clang --target=wasm32-wasi -std=gnu11 -O2 -Wall -Wextra -Wno-unused-parameter -Werror \
        -fno-ident -ffile-prefix-map="$PWD"=. -Wl,--strip-all "${flags[@]}" \
        "${@/#/c/}" c/library/{io,dial,config,log}.c -o "$out/$name.wasm"
    chmod 644 "$out/$name.wasm"
}

# rust NAME FILE: builds a module from rust/FILE.
rust() {
    local name=$1 file=$2
    wanted "$name" || return 0
    /usr/bin/rustc --edition 2021 --target wasm32-wasi -O -C panic=abort -C lto=fat -C codegen-units=1 \
        -C strip=symbols -C linker=wasm-ld-14 --remap-path-prefix "$PWD"=. -D warnings \
        "rust/$file" -o "$out/$name.wasm"
    chmod 644 "$out/$name.wasm"
}

build_all() {
    local module=(library/registration.c library/roles.c)
    local whole=("${module[@]}" library/worker.c)

    c plain -- plain.c "${whole[@]}"
    c plain16k -DBUF=16384 -- plain.c "${whole[@]}"
    c plain_reactor -DREACTOR -mexec-model=reactor -- plain.c "${whole[@]}"
    c plain_wrapped -DWRAPPED -- plain.c "${whole[@]}"
    # Its heap has the 128 KiB that TinyGo's has when it starts.
    c collecting -DPOLLS -DBUF=16384 -Wl,-z,stack-size=16384 -Wl,--initial-memory=196608 \
        -- collecting.c "${whole[@]}"
    c reverse -- reverse.c "${whole[@]}"
    c halfclose -- halfclose.c "${module[@]}"
    c records -- records.c "${module[@]}"
    c anysize -- anysize.c "${module[@]}"
    c handshake -- handshake.c "${whole[@]}"
    c xor -- xor.c "${whole[@]}"
    c fixed -- fixed.c library/registration.c library/worker.c
    c exit0 -DEXIT_CODE=0 -- exit.c "${whole[@]}"
    c exit3 -DEXIT_CODE=3 -- exit.c "${whole[@]}"
    c err_positive -- err_positive.c library/registration.c
    c files -- files.c "${whole[@]}"
    c args -- args.c
    c posix -- posix.c "${module[@]}"
    c blocking -- blocking.c "${module[@]}"
    c ctrl_ignore -- ctrl_ignore.c "${module[@]}"
    c bigwrite -- bigwrite.c "${module[@]}"
    c dialmany -- dialmany.c library/registration.c library/worker.c
    c compute -- compute.c "${whole[@]}"
    c faulty -- faulty.c
    c aead -Wl,--export-table,--growable-table -- aead.c "${module[@]}"
    local generation
    for generation in 1 2 3; do
        c "generation$generation" -DGENERATION="$generation" -- generations.c "${module[@]}"
        c "generation${generation}_reverse" -DGENERATION="$generation" -DREVERSING -- generations.c "${module[@]}"
    done

    rust rust_plain plain.rs
    rust rust_reverse reverse.rs
    rust rust_tcp tcp.rs
    rust rust_files files.rs
    rust rust_panic panic.rs
}

check() {
    out=$(mktemp -d)
    trap 'rm -rf "$out" "$linker"' EXIT
    build_all
    local file name status=0
    for file in "$out"/*.wasm built/*.wasm; do
        name=${file##*/}
        # From another compiler: `toolchains.sh` builds it.
        [[ $name == go_* ]] && continue
        if [[ ! -e built/$name ]]; then
            echo "build.sh: $name is not committed"
            status=1
        elif [[ ! -e $out/$name ]]; then
            echo "build.sh: $name is committed but nothing builds it"
            status=1
        elif [[ $file == "$out"/* ]] && ! cmp -s "$file" "built/$name"; then
            echo "build.sh: $name differs from the committed one"
            status=1
        fi
    done
    ((status == 0)) && echo "build.sh: all $(ls "$out" | wc -l) modules are as committed"
    exit "$status"
}

need_toolchain
if [[ ${1-} == --check ]]; then
    check
fi
only=("$@")
mkdir -p built
build_all
