# Shared by the scripts. Sourced, not run.
# shellcheck shell=bash disable=SC2034
repo=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")/..")

# Rust's name of the static target of an architecture, as `uname -m` names it.
target_of() { echo "${1/#riscv64/riscv64gc}-unknown-linux-musl"; }
target=$(target_of "$(uname -m)")
built=${CARGO_TARGET_DIR:-$repo/target}/$target/release
export DEBIAN_FRONTEND=noninteractive CARGO_TERM_COLOR=never

say() { printf '\n== %s\n' "$*"; }

# Runs a command while no other process runs one through this function, in any clone: apt-get and rustup fail if another
# one runs.
alone() { (flock 9; "$@" 9<&-) 9</var/lib/dpkg; }

# Installs the missing Debian packages. Removes none, and starts no service.
install_packages() {
  local missing=() package
  for package; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  echo "installing ${missing[*]}"
  alone install_without_services "${missing[@]}"
}
install_without_services() (
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy; chmod 755 $policy
  fi
  apt-get -o DPkg::Lock::Timeout=600 update -qq
  apt-get -o DPkg::Lock::Timeout=600 install -qq -y --no-install-recommends --no-remove "$@" >/dev/null
)

# Installs the missing engines. Only the tests run them: their services stay disabled at the next boot too.
# Engines that are installed already may come from elsewhere, and are left unchanged.
install_engines() {
  local -A units=([containerd]=containerd.service [conmon]='' [buildah]='' [uidmap]=''
    [podman]='podman.socket podman.service podman-restart.service podman-auto-update.service podman-auto-update.timer')
  local package program off=()
  for package in podman containerd conmon buildah uidmap; do
    program=${package/uidmap/newuidmap}
    if ! command -v "$program" >/dev/null; then
      install_packages "$package"
      read -ra off <<<"${units[$package]}"
      if [ ${#off[@]} -gt 0 ] && command -v systemctl >/dev/null; then systemctl --quiet disable "${off[@]}"; fi
    fi
  done
}

# Adds the static target to the Rust toolchain, and the linker that rustup does not bring.
install_target() {
  command -v cc >/dev/null || install_packages gcc libc6-dev
  rustup target list --installed | grep -qx "$target" || alone rustup target add "$target"
}

# Adds the nightly Rust toolchain with Miri.
install_miri() {
  cargo +nightly miri --version >/dev/null 2>&1 ||
    alone rustup toolchain install nightly --profile minimal --component miri --component rust-src
}

# Builds a package of the workspace as a static binary, into $built.
build_static() { (cd "$repo" && cargo build --quiet --release --locked --target "$target" -p "$1"); }

# The version of Cargo.toml, and the date of its section in CHANGELOG.md.
version() { sed -nE '/^\[package\]/,/^\[/s/^version = "(.*)"/\1/p' "$repo/Cargo.toml"; }
release_date() { sed -nE "s/^## $(version) - (....-..-..).*/\1/p" "$repo/CHANGELOG.md"; }
