# What the lab's tests are made of; dom0's bash reads it before a test.
#
# A process costs 50 to 100 ms in this dom0, so what is done often is done by bash itself.

AILURUS=/usr/libexec/ailurus
cd /root || exit 1
exec 9<> <(:)

# --- time and failure ---------------------------------------------------------------------------------------------

now() { # milliseconds into NOW
    NOW=${EPOCHREALTIME/./}
    NOW=$((NOW / 1000))
}

nap() { # SECONDS, without a process
    read -r -t "$1" -u 9
    true
}

note() { # a line of the test's output, with its time
    now
    printf '%6d ms  %s\n' $((NOW - BEGUN)) "$*"
}

fail() { # the last line of a test that fails
    echo "$*"
    exit 1
}

try() { # COMMAND...: says it and runs it; it must work
    note "$*"
    "$@" || fail "\`$*\` fails with status $?"
}

wait_for() { # SECONDS WHAT COMMAND...: until the command works
    local seconds=$1 what=$2 end
    shift 2
    now
    end=$((NOW + seconds * 1000))
    until "$@"; do
        now
        [ $NOW -lt $end ] || fail "no $what in $seconds s"
        nap 0.1
    done
    note "$what"
}

# --- text ---------------------------------------------------------------------------------------------------------

slurp() { # FILE into TEXT
    TEXT=
    [ -e "$1" ] && IFS= read -r -d '' TEXT 2>/dev/null <"$1"
    TEXT=${TEXT//$'\r'/}
}

has() { # FILE TEXT [FROM]: whether the file holds the text, beyond a position
    slurp "$1"
    [[ ${TEXT:${3:-0}} == *"$2"* ]]
}

wait_text() { # SECONDS FILE TEXT [FROM]
    wait_for "$1" "\"$3\" in $2" has "$2" "$3" "${4:-0}" || tail -5 "$2"
}

length() { # FILE: how much it holds, into LENGTH
    slurp "$1"
    LENGTH=${#TEXT}
}

ends_line() { # FILE: whether it ends with a whole line
    slurp "$1"
    [[ $TEXT == *$'\n' ]]
}

# --- guests -------------------------------------------------------------------------------------------------------

config() { # NAME LINE...: the guest's configuration in /root/NAME.cfg, with the device model under test
    local file=/root/$1.cfg
    {
        echo "name=\"$1\""
        echo 'type="hvm"'
        echo 'on_crash="preserve"'
        shift
        printf '%s\n' "$@"
        [ "$MODEL" = ailurus ] && echo "device_model_override=\"$AILURUS\""
        [ -z "${RESTRICT-}" ] || echo 'dm_restrict=1'
    } >"$file"
}

disk() { # IMAGE [VDEV]: a line of a configuration
    echo "disk=[\"format=raw,vdev=${2:-hda},access=rw,backendtype=qdisk,target=$1\"]"
}

hello_config() { # NAME LINE...: the boot-sector guest, with its serial port in /root/NAME.serial
    local name=$1
    shift
    rm -f "/root/$name.serial"
    [ -e /root/hello.img ] || cp /srv/hello.img /root/
    config "$name" 'memory=64' 'vnc=0' 'vga="none"' "serial=\"file:/root/$name.serial\"" "$(disk /root/hello.img)" "$@"
}

create() { # NAME [xl's arguments...]: from /root/NAME.cfg
    local name=$1
    shift
    try xl create "$@" "/root/$name.cfg"
    look_up "$name"
}

look_up() { # NAME: its number in ID, its device model's process in PID
    ID=$(xl domid "$1") || fail "no domain $1"
    PID=$(xenstore-read "/local/domain/$ID/image/device-model-pid") || fail "no device model of $1"
    note "$1 is domain $ID, its device model process $PID"
}

beats() { # FILE: the last count of a hello guest into BEATS, -1 when there is none
    slurp "$1"
    BEATS=-1
    local rest=${TEXT%$'\n'*}
    rest=${rest##*$'\n'}
    [[ $rest == beat\ ???? ]] && BEATS=$((16#${rest#beat }))
}

beats_beyond() { # FILE COUNT
    beats "$1"
    [ $BEATS -gt "$2" ]
}

linux_config() { # NAME LINE...: the Linux guest, with its serial port on a terminal
    local name=$1
    shift
    [ -e /root/linux.img ] || cp /srv/linux.img /root/
    config "$name" 'memory=256' 'vnc=0' 'vga="none"' 'serial="pty"' "$(disk /root/linux.img)" "$@"
}

create_linux() { # NAME [xl's arguments...]: to its userland, with all that it says in /root/NAME.serial
    local name=$1
    create "$name" -p
    listen "$name"
    try xl unpause "$name"
    wait_text 400 "/root/$name.serial" GUEST-READY
}

declare -A READERS=()
listen() { # NAME: what the guest's serial terminal says goes to /root/NAME.serial
    # Two readers of one terminal would each get half of it.
    [ -z "${READERS[$1]-}" ] || kill "${READERS[$1]}" 2>/dev/null
    TTY=$(xenstore-read "/local/domain/$ID/serial/0/tty") || fail "no serial terminal of $1"
    stty -F "$TTY" raw -echo || fail "no terminal $TTY"
    # What the last one said must be gone when this returns.
    : >"/root/$1.serial"
    cat "$TTY" >>"/root/$1.serial" 2>/dev/null &
    READERS[$1]=$!
    exec 8>"$TTY"
}

guest() { # SECONDS COMMAND: runs it in the Linux guest listened to last; its output in OUTPUT, its status is ours
    local file=/root/${GUEST:-linux}.serial from
    # What it says now it says to the end first.
    wait_for 20 "end of a line" ends_line "$file"
    length "$file"
    from=$LENGTH
    echo "$2" >&8
    wait_text "$1" "$file" GUEST-STATUS "$from"
    nap 0.2
    slurp "$file"
    OUTPUT=${TEXT:from}
    local status=${OUTPUT##*GUEST-STATUS }
    OUTPUT=${OUTPUT%GUEST-STATUS*}
    return "${status%%[!0-9]*}"
}

settle() { # waits until the guest listened to last answers; a resumed one may lose some of what it is sent
    local file=/root/${GUEST:-linux}.serial turn end
    for ((turn = 1; turn <= 10; turn++)); do
        printf '\necho SETTLED %d\n' $turn >&8
        now
        end=$((NOW + turn * 2000))
        while [ $NOW -lt $end ]; do
            # The last one's answer: none can come any more that would be taken for that of the next command.
            has "$file" "SETTLED $turn"$'\n'"GUEST-STATUS 0" && return
            nap 0.1
            now
        done
    done
    fail "the guest does not answer"
}

disk_at() { # CHANNEL DRIVE: its name in the guest into DISK, once it is there; the kernel names them as they come
    guest 60 "until ls -d /sys/bus/scsi/devices/$1:0:$2:0/block/sd* 2>/dev/null; do sleep 1; done" ||
        fail "no drive $2 on channel $1: $OUTPUT"
    DISK=${OUTPUT##*/block/}
    DISK=/dev/${DISK%%[!a-z]*}
    note "drive $2 of channel $1 is $DISK"
}

# Writes what it reads back, for ever, 16 MB of a disk.
LOAD='n=0; while :; do head -c 2097152 /dev/urandom >/tmp/a;
dd if=/tmp/a of=DISK bs=64k seek=$((FIRST + n % 8 * 32)) conv=fsync || touch /tmp/failed; echo 3 >/proc/sys/vm/drop_caches;
dd if=DISK bs=64k skip=$((FIRST + n % 8 * 32)) count=32 | cmp - /tmp/a || touch /tmp/failed;
n=$((n + 1)); echo $n >/tmp/loops; done'

load() { # DEVICE [FIRST]: the guest writes and reads there from now on, from the 64 kB with that number on
    local load=${LOAD//$'\n'/ }
    load=${load//FIRST/${2:-0}}
    guest 20 "echo 0 >/tmp/loops; (${load//DISK/$1}) >/dev/null 2>&1 &" || fail "no load in the guest: $OUTPUT"
}

loops() { # how often the guest has done so, into LOOPS, if it never failed
    guest 60 'cat /tmp/loops; [ ! -e /tmp/failed ]' || fail "the guest reads other data than it wrote: $OUTPUT"
    [[ $OUTPUT =~ ^[0-9]+ ]] || fail "no count of loops: $OUTPUT"
    LOOPS=${BASH_REMATCH[0]}
}

more_loops() { # than so many
    loops
    [ "$LOOPS" -gt "$1" ]
}

PARTS='for i in 0 1 2 3 4 5 6 7 8 9; do cat /tmp/part; done'

write_and_read() { # DEVICE: 100 MB to that disk of the guest's and back; their checksum in SUM
    guest 60 'dd if=/dev/urandom of=/tmp/part bs=1M count=10 2>/dev/null' || fail "no data: $OUTPUT"
    guest 600 "($PARTS) | dd of=$1 bs=1M conv=fsync 2>&1" || fail "the guest cannot write: $OUTPUT"
    note "${OUTPUT##*$'\n'1}"
    guest 900 "echo 3 >/proc/sys/vm/drop_caches; head -c 104857600 $1 | sha256sum" || fail "cannot read: $OUTPUT"
    read -r SUM _ <<<"$OUTPUT"
    guest 120 "head -c 10485760 $1 | cmp - /tmp/part" || fail "the disk holds other data than was written: $OUTPUT"
    note "$1 holds $SUM"
}

holds() { # IMAGE: whether its first 100 MB have the checksum SUM, and are ten times the same as they were written
    local line parts
    line=$(head -c 104857600 "$1" | sha256sum)
    [ "$SUM" = "${line%% *}" ] || fail "the guest reads $SUM, $1 has ${line%% *}"
    parts=$(for _ in 0 1 2 3 4 5 6 7 8 9; do head -c 10485760 "$1"; done | sha256sum)
    [ "$parts" = "$line" ] || fail "$1 does not hold the same ten times over"
}

same_as_before() { # WHAT SUM: after that the guest's /tmp/data still has this checksum, and its clock is right
    local host late
    guest 60 'sha256sum </tmp/data' || fail "no answer after $1"
    [ "$OUTPUT" = "$2" ] || fail "the guest's memory changed: $2, then $OUTPUT"
    guest 30 'date +%s' || fail "no date after $1"
    printf -v host '%(%s)T' -1
    late=$((host - ${OUTPUT%%[!0-9]*}))
    [ ${late#-} -lt 5 ] || fail "the guest's clock is $late s late"
}

restart() { # NAME ID: waits for the domain that xl, in the background, makes of the one that reboots
    wait_for 60 "end of domain $2" eval "! xenstore-exists /local/domain/$2"
    wait_for 60 "new domain" eval "xl domid $1 >/dev/null 2>&1"
    ID=$(xl domid "$1")
    wait_for 60 "its device model" xenstore-exists "/local/domain/$ID/serial/0/tty"
    look_up "$1"
    listen "$1"
    wait_text 400 "/root/$1.serial" GUEST-READY
}

# --- a network ----------------------------------------------------------------------------------------------------

on_bridge() { # dom0 is 10.9.0.1 on its bridge
    ip addr show dev xenbr0 | grep -q 10.9.0.1 || try ip addr add 10.9.0.1/24 dev xenbr0
}

serve() { # BYTES: by HTTP, to guests on the bridge; their checksum in SENT
    on_bridge
    mkdir -p /root/www
    head -c "$1" /dev/urandom >/root/www/sent
    read -r SENT _ <<<"$(sha256sum /root/www/sent)"
    busybox httpd -f -p 10.9.0.1:8000 -h /root/www &
    SERVER=$!
}

serve_no_more() {
    kill "$SERVER"
    rm -rf /root/www
}

FETCH='wget -q -O - http://10.9.0.1:8000/sent | sha256sum'

download() { # WHAT: the guest gets what is served, with the right checksum
    guest 300 "$FETCH" || fail "$1: $OUTPUT"
    [[ $OUTPUT == *"$SENT"* ]] || fail "$1: $SENT was sent, $OUTPUT came"
    note "$1: it came"
}

download_for_ever() { # the guest does so again and again from now on; `loops` tells how often
    guest 20 "echo 0 >/tmp/loops; (n=0; while :; do $FETCH | grep -q $SENT || touch /tmp/failed; n=\$((n + 1)); \
        echo \$n >/tmp/loops; done) >/dev/null 2>&1 &" || fail "no downloads in the guest: $OUTPUT"
}

card_up() { # [CARD ADDRESS]: the guest's card gets its address
    local card=${1:-eth0} address=${2:-10.9.0.2}
    guest 60 "until ifconfig $card $address netmask 255.255.255.0 up 2>/dev/null; do sleep 1; done" ||
        fail "no card $card: $OUTPUT"
}

# A guest with nothing but this card; without the platform device there is nothing to unplug it by.
emulated_card() { # MODEL VENDOR: `linux`, at its userland, with its card's address
    cp /srv/cards.img /root/linux.img
    linux_config linux 'xen_platform_pci=0' "vif=[\"${1:+model=$1,}bridge=xenbr0,script=vif-lab,mac=00:16:3e:00:00:42\"]"
    create_linux linux
    [ -e "/sys/class/net/vif$ID.0-emu" ] || fail "no tap interface of domain $ID"
    card_up
    guest 20 'cat /sys/class/net/eth0/device/vendor /sys/class/net/eth0/address' || fail "no card: $OUTPUT"
    [[ $OUTPUT == "$2"*00:16:3e:00:00:42* ]] || fail "another card: $OUTPUT"
}

restored() { # `linux`, from /root/linux.save; it answers
    try xl restore -p /root/linux.save
    look_up linux
    listen linux
    try xl unpause linux
    settle
}

migrated() { # `linux`, to the same host; it answers
    xl migrate -s '' linux 'xl migrate-receive' >/root/migrate.log 2>&1 || fail "the migration fails with status $?"
    look_up linux
    listen linux
    settle
}

# --- a viewer -------------------------------------------------------------------------------------------------------

bytes() { # COUNT: from the server, as numbers into BYTES
    local text
    text=$(timeout 20 head -c "$1" <&7 | od -An -v -tu1 | tr '\n' ' ')
    read -r -a BYTES <<<"$text"
    [ "${#BYTES[@]}" = "$1" ] || fail "the server sent ${#BYTES[@]} of $1 bytes"
}

word() { # INDEX: two of BYTES
    WORD=$((BYTES[$1] * 256 + BYTES[$1 + 1]))
}

view() { # looks at the screen of domain ID, by VNC on descriptor 7; its size into width, height and, as printf takes it, SIZE
    port=$(xenstore-read "/local/domain/$ID/console/vnc-port") || fail "no VNC port in xenstore"
    exec 7<>"/dev/tcp/127.0.0.1/$port" || fail "no VNC server at $port"
    version=$(timeout 20 head -c 12 <&7)
    [ "$version" = "RFB 003.008" ] || fail "the server says $version"
    printf 'RFB 003.008\n' >&7
    bytes 1
    bytes "${BYTES[0]}"
    [[ " ${BYTES[*]} " == *" 1 "* ]] || fail "the server wants authentication: ${BYTES[*]}"
    printf '\1' >&7
    bytes 4
    [ "${BYTES[*]}" = "0 0 0 0" ] || fail "the server refuses"
    printf '\1' >&7
    bytes 24
    word 0
    width=$WORD
    word 2
    height=$WORD
    [ "${BYTES[4]}" = 32 ] || fail "${BYTES[4]} bits a pixel"
    SIZE=$(printf '\\%03o\\%03o\\%03o\\%03o' "${BYTES[0]}" "${BYTES[1]}" "${BYTES[2]}" "${BYTES[3]}")
    bytes "${BYTES[23]}"
    note "a screen of $width x $height"
    printf '\2\0\0\1\0\0\0\0' >&7
}

press() { # KEYSYM: its four bytes, as printf takes them; goes down and up
    printf '\4\1\0\0'"$1"'\4\0\0\0'"$1" >&7
}

point() { # X Y: no button
    local place
    printf -v place '\\%03o\\%03o\\%03o\\%03o' $(($1 / 256)) $(($1 % 256)) $(($2 / 256)) $(($2 % 256))
    printf '\5\0'"$place" >&7
}

# --- processes ----------------------------------------------------------------------------------------------------

state() { # NAME: xl's letters for it into STATE
    local line
    line=$(xl list "$1" 2>/dev/null) || return 1
    line=${line##*$'\n'}
    read -r _ _ _ _ STATE _ <<<"$line"
}

is_state() { # NAME LETTER
    state "$1" && [[ $STATE == *$2* ]]
}

is_gone() { # NAME
    ! xl domid "$1" >/dev/null 2>&1
}

no_process() { # PID
    [ ! -e "/proc/$1/exe" ] || [ ! -r "/proc/$1/cmdline" ] || ! IFS= read -r -d '' _ <"/proc/$1/cmdline"
}

process() { # NAME: the process of that name that the device model has started, into FOUND; its status in TEXT
    local status parent
    FOUND=
    for status in /proc/[0-9]*/status; do
        slurp "$status" 2>/dev/null
        [[ $TEXT == Name:$'\t'$1* ]] || continue
        parent=${TEXT#*PPid:}
        read -r parent _ <<<"$parent"
        [ "$parent" = "$PID" ] || continue
        FOUND=${status//[!0-9]/}
        return
    done
    fail "no process $1 of device model $PID"
}

restricted() { # what the kernel says of the device model
    slurp "/proc/$PID/status"
    local uid=${TEXT#*Uid:} caps=${TEXT#*CapEff:}
    read -r uid _ <<<"$uid"
    read -r caps _ <<<"$caps"
    [ "$uid" = $((131072 + ID)) ] || fail "the device model runs as user $uid"
    [ "$caps" = 0000000000000000 ] || fail "the device model has capabilities $caps"
    [ "$(readlink "/proc/$PID/root")" = "/run/xen/qemu-root-$ID" ] || fail "its root is $(readlink "/proc/$PID/root")"
    ls -l "/proc/$PID/fd" >/root/fds.log
    ! grep -q xenstored /root/fds.log || fail "it holds xenstore's socket"
    note "restricted: user $uid, no capabilities, $(wc -l </root/fds.log) descriptors"
    [ "$MODEL" = stock ] && return
    [[ $TEXT == *Seccomp:$'\t'2* ]] || fail "no seccomp filter"
}

intrude() { # PID WHAT...: somebody has taken the process over; he must not get anything, and his last try ends it
    /share/intruder "$1" "$ID" "${@:2}" >"/root/intruder-$2.log" 2>&1
    local status=$? line
    while IFS= read -r line; do note "$2: $line"; done <"/root/intruder-$2.log"
    [ $status = 0 ] || fail "an intruder in process $1 does what he must not, or cannot be tried"
    wait_for 5 "end of process $1" no_process "$1"
}

destroy() { # NAME: destroys it; its device model is gone within a second
    local pid=$PID
    try xl destroy "$1"
    wait_for 1 "end of the device model $pid" no_process "$pid"
}

# --- what is left -------------------------------------------------------------------------------------------------

nodes() { # the paths in xenstore, without the folders that the first guest of all leaves
    xenstore-ls -f | sed "s/ = .*//" | sort |
        grep -vxE "/libxl|/vm|/local/domain/0/(device-model|backend(/[a-z0-9]+)?)"
}

leftovers() { # files of guests in /run/xen, without libxl's own list of past domains, its lock, and its root folders
    ls /run/xen | grep -vxE "domid-history|dm-reaper-lock|qemu-root-[0-9]+"
}

remember() { # what there is before a test
    nodes >/root/before.nodes
    leftovers >/root/before.run
}

nothing_left() { # everything is as it was remembered
    local left
    left=$(nodes | comm -13 /root/before.nodes - | tr '\n' ' ')
    [ -z "$left" ] || fail "left in xenstore: $left"
    left=$(leftovers | comm -13 /root/before.run - | tr '\n' ' ')
    [ -z "$left" ] || fail "left in /run/xen: $left"
    note "nothing is left"
}

# --- what is said to Xen, xenstore and libxl ----------------------------------------------------------------------

TRACING=/sys/kernel/tracing
ACCESSES=/run/xenstored-access.log

record() { # from now on the kernel records dm_ops and QMP of all processes; the processes notice nothing
    local said='size=%dx:u32 one=+0(+40(%si)):ustring first=+0(+0(+40(%si))):ustring'
    local dm_op='op=+u0(+u0(+u8(%dx))):u32 a=+u8(+u0(+u8(%dx))):u64 b=+u16(+u0(+u8(%dx))):u64'
    [ -e $TRACING/trace ] || mount -t tracefs tracing $TRACING
    recorded
    # A message is one piece or begins with the first of several; both are looked at, and one of them fails.
    echo "p:lab/said unix_stream_sendmsg $said" >$TRACING/kprobe_events &&
        echo "p:lab/dm_op xen_privcmd:privcmd_ioctl command=%si:u32 domain=+u0(%dx):u16 $dm_op" >>$TRACING/kprobe_events &&
        echo 'one ~ "{*" || first ~ "{*"' >$TRACING/events/lab/said/filter &&
        echo "command == $((0x105005))" >$TRACING/events/lab/dm_op/filter &&
        echo 8192 >$TRACING/buffer_size_kb &&
        echo >$TRACING/trace &&
        echo 1 >$TRACING/events/lab/enable || fail "the kernel does not record"
    ACCESSED=$(stat -c %s $ACCESSES)
}

mark() { # TEXT, into the record
    echo "MARK $*" >$TRACING/trace_marker
}

recorded() { # [FOLDER]: ends the record and keeps it there
    echo 0 2>/dev/null >$TRACING/events/lab/enable
    if [ $# = 1 ]; then
        cat $TRACING/trace >"$1/kernel.log"
        tail -c "+$((ACCESSED + 1))" $ACCESSES >"$1/xenstore.log"
    fi
    echo >$TRACING/kprobe_events
}

# --- around a test ------------------------------------------------------------------------------------------------

run_test() { # the test TEST with the device model MODEL
    now
    BEGUN=$NOW
    if [ "$MODEL" = ailurus ]; then
        # To read it takes half a minute: it has a new time when it is another one.
        if [ /share/ailurus -nt "$AILURUS" ] || [ /share/ailurus -ot "$AILURUS" ]; then
            cp -p /share/ailurus "$AILURUS" && chmod 755 "$AILURUS" || fail "no program in /share"
        fi
        # A program for a newer libc says so here, and not in a log of xl's.
        "$AILURUS" --version || fail "$AILURUS does not run in dom0"
    fi
    remember
    . "${TESTS:-/share/tests}/$TEST.sh"
    note "passed"
}

left_running() { # device models, readers of terminals and servers
    local folder name
    for folder in /proc/[0-9]*; do
        read -r name 2>/dev/null <"$folder/comm"
        case $name in
        xen-qemu-system | ailurus* | cat | busybox) echo "${folder#/proc/}" ;;
        esac
    done
}

clean_up() { # ends all guests and device models, and moves logs to the folder LOGS
    local id pid
    mkdir -p "$LOGS"
    xenstore-ls -f >"$LOGS/xenstore.txt" 2>&1
    xl list >"$LOGS/xl-list.txt" 2>&1
    for pid in $(left_running); do
        cp "/proc/$pid/status" "$LOGS/process-$pid.txt" 2>/dev/null
    done
    for id in $(xenstore-list /local/domain); do
        [ "$id" = 0 ] || xl destroy "$id"
    done
    for pid in $(left_running); do
        kill -9 "$pid"
    done
    cp /var/log/xen/* /root/*.cfg /root/*.serial /root/*.log "$LOGS" 2>/dev/null
    # What a guest did to them shall not trouble the next.
    rm -f /root/*.img /root/*.qcow2 /root/*.save
    rm -f /var/log/xen/* /root/*.cfg /root/*.serial /root/*.log
    [ "$(xl list | wc -l)" = 2 ]
}
