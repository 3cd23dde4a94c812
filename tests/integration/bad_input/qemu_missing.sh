# No such QEMU: exit 2 before anything starts, with what to install.
. "$(dirname "$0")/../../lib/harness.sh"
profile 'qemu = "qemu-system-vax"'
printf 'provium:vm("a", "default"):boot()\n' >a.test.lua
expect 2 "$provium" run .
says err "qemu-system-vax"
passed
