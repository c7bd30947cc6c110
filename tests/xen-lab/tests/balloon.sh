# memory that the guest gives back is free for the host, though the device model had it mapped
# seconds 600
free_memory() { # MiB into FREE
    local name value
    while read -r name _ value; do
        [ "$name" = free_memory ] && FREE=$value
    done < <(xl info)
}

freed() { # at least so many MiB more than before
    free_memory
    [ $((FREE - before)) -ge "$1" ]
}

head -c 8192000 /dev/urandom >/root/one.iso
linux_config linux
sed -i '/^disk=/d' /root/linux.cfg
hard='format=raw,vdev=hda,access=rw,backendtype=qdisk,target=/root/linux.img'
echo "disk=[\"$hard\", \"format=raw,vdev=hdc,access=ro,devtype=cdrom,target=/root/one.iso\"]" >>/root/linux.cfg
create_linux linux
# The device model writes to the guest's memory.
guest 120 'cat </dev/sr0 >/dev/null' || fail "the guest reads no CD: $OUTPUT"
free_memory
before=$FREE
try xl mem-set linux 128
wait_for 60 "at least 120 MiB more free memory" freed 120
note "free memory: $before MiB, then $FREE MiB"
guest 30 'echo 1 >/proc/sys/vm/drop_caches; cat </dev/sr0 | wc -c' || fail "the guest does not answer: $OUTPUT"
[[ $OUTPUT == 8192000* ]] || fail "the guest reads no CD after ballooning: $OUTPUT"
destroy linux
rm -f /root/one.iso
nothing_left
