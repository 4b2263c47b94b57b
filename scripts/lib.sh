# Shared by the scripts. Sourced, not run.
# shellcheck shell=bash disable=SC2034
repo=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")/..")
target=x86_64-unknown-linux-musl
built=${CARGO_TARGET_DIR:-$repo/target}/$target/release
export DEBIAN_FRONTEND=noninteractive CARGO_TERM_COLOR=never

say() { printf '\n== %s\n' "$*"; }

# Installs the Debian packages that are missing.
install_packages() {
  local missing=() package
  for package; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  echo "installing ${missing[*]}"
  apt-get -o DPkg::Lock::Timeout=600 update -qq
  apt-get -o DPkg::Lock::Timeout=600 install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}

# Adds the static target to the Rust toolchain.
install_target() {
  rustup target list --installed | grep -qx "$target" || rustup target add "$target"
}

# Builds a package of the workspace as a static binary, into $built.
build_static() { (cd "$repo" && cargo build --quiet --release --locked --target "$target" -p "$1"); }
