# what xl takes of a configuration file `ailurus run` takes, and refuses what xl refuses
# seconds 300
if [ "$MODEL" = stock ]; then
    note "not tried: the stock device model reads no such files"
    return 0
fi

COUNT=0 WRONG=0
verdict() { # COMMAND...: `takes` or `refuses` into VERDICT
    if "$@" >/root/said.log 2>&1; then VERDICT=takes; else VERDICT=refuses; fi
}
compare() { # TEXT [VERDICTS]: a file with this behind the rest; both say the same, or xl and ours say these
    local xl
    printf 'name="x"\ntype="hvm"\nmemory=64\n%s\n' "$1" >/root/sample.cfg
    verdict xl create -n /root/sample.cfg
    xl=$VERDICT
    verdict "$AILURUS" run --check /root/sample.cfg
    if [ "$xl $VERDICT" != "${2:-$xl $xl}" ]; then
        note "xl $xl, ailurus $VERDICT: $1: $(</root/said.log)"
        WRONG=$((WRONG + 1))
    fi
    COUNT=$((COUNT + 1))
}

while IFS= read -r line; do
    [ -z "$line" ] || compare "disk=['$line']"
done <<'END'
/x,raw,hda,rw
/x,raw,hda,ro,cdrom
,hdc:cdrom,r
vdev=hdc,devtype=cdrom,format=empty
,empty,hdc,cdrom
,,hdc,cdrom
,raw,hdc,ro,cdrom
phy:/x,hda,w
file:/x,hdc:cdrom,r
file:/x,hda,w
tap:qcow2:/x,hda,w
tap2:tapdisk:aio:/x,hda,w
ioemu:/x,hda:disk,w
raw:/x,hdb,w
phy:/x,,xvda,w
format=raw, vdev=hda, access=rw, target=/x
/x,raw,hda,acess=ro
/x,raw,hda,maybe
/x,aio,hda
/x,hda
/x,raw,hda,rw,more
/x,raw,hda,
/x,raw,hda,,
/x,raw,hda,rw,
target=/x,y,vdev=hda
vdev=hda,target=/x
vdev=hda
/x,raw
cdrom,/x,,hdc
/x,,hdc,cdrom,ro
/x,,hdc:cdrom
/x,qcow2,hda,rw
END

while IFS= read -r line; do
    [ -z "$line" ] || compare "$(printf '%b' "$line")"
done <<'END'
acpi=0
acpi=0\nhpet=0
hpet=1
acpi=x
vcpus=2
vcpus=x
vcpus=-1
vcpus=0x2
vcpus="2"
vcpus=2;boot="c"
;;vcpus=2;;
memory=128
boot=dc
boot="dc
boot='dc'
boot="dc" # a comment
# \0351
serial="pty"
serial=["pty","none"]
serial=["pty",]
serial=["pty"
on_crash="preserve"
on_crash="coredump-restart"
on_crash="coredump-preserve"
on_crash="whatever"
on_reboot="restart"
extra="ro"\nextra+=" quiet"
uuid="00000000-1111-2222-3333-444444444444"
uuid="x"
a.b=1
=1
vcpus
vcpus=1 2
vcpus==1
kernel="/usr/lib/xen-4.17/boot/hvmloader"
END
# What is of another kind than its key xl passes over, with a warning.
for sample in 'vcpus=[2]' 'vcpus=[]' 'vcpus="x"' 'vcpus="2x"' 'vcpus=""' 'vcpus="-1"' 'memory=[64]' 'memory+=1' \
    'maxvcpus=[2]' 'acpi=[1]' 'acpi="-1"' 'localtime="x"' 'boot=["c"]' 'kernel=["/x"]' 'extra=["x"]' 'bios=["x"]' 'bios="x"' \
    'uuid=["x"]' 'on_crash=["destroy"]' 'name=["x"]' 'type=["hvm"]' 'builder=["hvm"]' 'disk="/x,raw,hda"' \
    'vif="bridge=x"' 'disk=[["x"]]' 'vif=[["x"]]' 'serial=[["x"]]'; do
    compare "$sample"
done
# 2^64 kB less a MB, which no host has.
compare 'memory="-1"' 'takes refuses'
rm -f /root/said.log
note "$COUNT files"
[ $WRONG = 0 ] || fail "of $COUNT files $WRONG are judged otherwise than by xl"
