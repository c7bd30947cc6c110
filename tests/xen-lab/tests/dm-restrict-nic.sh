# dm_restrict=1 with a network card: downloads, save, restore, migration; who takes the device model over has its tap alone
# seconds 1200
# needs intruder
RESTRICT=1
serve 8388608
for card in e1000:0x8086 rtl8139:0x10ec; do
    emulated_card "${card%:*}" "${card#*:}"
    restricted
    download "${card%:*}"
    # The stock device model opens the image anew after a restore, without the rights that it has given up.
    if [ "$MODEL" = stock ]; then
        destroy linux
        continue
    fi
    try xl save linux /root/linux.save
    restored
    restricted
    download "${card%:*} after a restore"
    migrated
    restricted
    download "${card%:*} after a migration"
    intrude "$PID" machine tap
    try xl destroy linux
done
rm -f /root/linux.save
serve_no_more
nothing_left
