# dm_restrict=1: the life cycle, VNC, damaged files, PV disks and five migrations under load once more
# seconds 3600
RESTRICT=1
again=(lifecycle vnc damaged qdisk migrate)
# The stock device model serves no PV disks then, and cannot be restored.
[ "$MODEL" = ailurus ] || again=(vnc)
for part in "${again[@]}"; do
    note "$part, restricted"
    . "/share/tests/$part.sh"
done
