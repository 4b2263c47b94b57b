# QEMU for the scripts of the lab. Sourced after scripts/lib.sh, not run.
# shellcheck shell=bash disable=SC2034
# It is unpacked and not installed: a qemu-utils of another release on the machine excludes it.

# mmdebstrap from the mirror that this machine already uses: debian OPTION... SUITE FOLDER. Check-Valid-Until is off
# because the mirror may be a snapshot.
debian() {
  local mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep '/debian/$' | head -1 || :)
  mmdebstrap --mode=root --components=main --skip=check/empty --aptopt='Acquire::Check-Valid-Until "false"' \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' "$@" "${mirror:-http://deb.debian.org/debian/}"
}

# Unpacks Debian 12's packages of QEMU, with what they need, into a folder: unpack_qemu FOLDER PACKAGE...
unpack_qemu() {
  local folder=$1 packages; shift
  packages=$(IFS=,; echo "$*")
  [ "$(cat "$folder/.done" 2>/dev/null)" != "$packages" ] || return 0
  rm -rf "$folder"
  debian --variant=extract --include="$packages" bookworm "$folder"
  echo "$packages" >"$folder/.done"
}

# Sets $own to the start of a command line: a program of an unpacked QEMU, with the libraries that belong to it and
# the folders of its firmware: of_qemu FOLDER PROGRAM
of_qemu() {
  local root=$1 libraries=$1/lib/x86_64-linux-gnu:$1/usr/lib/x86_64-linux-gnu
  own=(env QEMU_MODULE_DIR="$root/usr/lib/x86_64-linux-gnu/qemu"
    "$root/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" --library-path "$libraries" "$root/usr/$2")
  case $2 in *qemu-system-*) own+=(-L "$root/usr/share/qemu" -L "$root/usr/share/seabios") ;; esac
}
