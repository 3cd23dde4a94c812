# A QEMU that ends at once: its own words are in the message.
. "$(dirname "$0")/../../lib/harness.sh"
cat >qemu-broken <<'SH'
#!/bin/sh
case "$*" in
*--version*) echo "QEMU emulator version 7.2.0" ;;
*) echo "qemu-broken: cannot allocate the moon" >&2; exit 3 ;;
esac
SH
chmod +x qemu-broken
profile "qemu = \"$work/qemu-broken\""
printf 'provium:vm("a", "default"):boot()\n' >a.test.lua
expect 1 "$provium" run .
says out "vm:boot:"
says out "cannot allocate the moon"
passed
