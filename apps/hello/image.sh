#!/bin/sh
# image.sh PROGRAM FOLDER: puts the root file system of the container into FOLDER. To be run in the repository's root.
set -eu
program=$1
root=$2
mkdir -p "$root/app" "$root/etc/ssl/certs" "$root/tmp"
chmod 1777 "$root/tmp"
install -m 755 "$program" "$root/hello"
install -m 644 apps/hello/host.json "$root/app/host.json"

# The libraries that the program loads, under the names by which it finds them.
ldd "$program" | grep -o '/[^ )]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    install -m 755 "$library" "$root$library"
done

# Whom to trust, how names are looked up, and who runs the program.
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
    install -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
fi
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
echo 'hello:x:65532:65532:hello:/data:/' > "$root/etc/passwd"
echo 'hello:x:65532:' > "$root/etc/group"
