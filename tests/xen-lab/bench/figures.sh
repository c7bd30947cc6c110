# What the parts of the bench have in common.

figure() { # NAME NUMBER
    echo "figure $1 $2"
}

timed() { # NAME COMMAND...: how many milliseconds it takes
    local name=$1 begun
    shift
    now
    begun=$NOW
    "$@" || return
    now
    figure "$name" $((NOW - begun))
}

note_start() { # NAME: its device model will be started by a script that notes when
    local program=/usr/libexec/xen-qemu-system-i386
    [ "$MODEL" = ailurus ] && program=$AILURUS
    printf '#!/bin/bash\necho $EPOCHREALTIME >/root/started\nexec %s "$@"\n' "$program" >/root/dm
    chmod 755 /root/dm
    sed -i '/^device_model_override/d' "/root/$1.cfg"
    echo 'device_model_override="/root/dm"' >>"/root/$1.cfg"
}

started() { # how long it took from there to its word in xenstore
    local line time begun
    line=$(grep "device-model/$ID/state running" $ACCESSES | tail -1)
    time=${line#*T}
    time=${time%%Z*}
    IFS=:. read -r hours minutes seconds thousandths <<<"$time"
    time=$((((10#$hours * 60 + 10#$minutes) * 60 + 10#$seconds) * 1000 + 10#$thousandths))
    begun=$(</root/started)
    begun=${begun/./}
    begun=$((begun / 1000 % 86400000))
    figure start $((time - begun))
}

resident() { # of the device model PID
    local name number tasks
    while read -r name number _; do
        case $name in
        Pss:) figure pss "$number" ;;
        Rss:) figure rss "$number" ;;
        esac
    done <"/proc/$PID/smaps_rollup"
    tasks=("/proc/$PID/task"/*)
    figure threads ${#tasks[@]}
}

wakeups() { # SECONDS to count how often threads of the device model PID go on after they waited
    local status name number woken=0
    local -A before=()
    for status in "/proc/$PID/task"/*/status; do
        while read -r name number; do
            [ "$name" = voluntary_ctxt_switches: ] && before[$status]=$number
        done <"$status"
    done
    nap "$1"
    # Threads that have ended meanwhile are not counted.
    for status in "/proc/$PID/task"/*/status; do
        while read -r name number; do
            [ "$name" = voluntary_ctxt_switches: ] && woken=$((woken + number - ${before[$status]:-0}))
        done <"$status"
    done
    figure wakeups "$((woken / $1)).$((woken * 10 / $1 % 10))"
}

timed_save() { # NAME: how long the device model takes for its part; the saved domain's end goes to state.log
    local line time begun=
    record
    # In memory: a disk's pace would be the host's.
    try xl save "$1" "/tmp/$1.save" 2>/dev/null
    recorded /root
    while read -r line; do
        [[ $line =~ \ ([0-9]+)\.([0-9]+):\ said: ]] || continue
        time=$((10#${BASH_REMATCH[1]}${BASH_REMATCH[2]}))
        case $line in
        *'"execute":"xen-save-devices-state"'*) begun=$time ;;
        *'"return"'*)
            [ -z "$begun" ] || figure save "$(((time - begun) / 1000)).$(((time - begun) / 100 % 10))"
            begun=
            ;;
        esac
    done </root/kernel.log
    tail -c 600000 "/tmp/$1.save" >/root/state.log
    rm -f "/tmp/$1.save"
}

timed_in_guest() { # COMMAND: how long it takes there, in hundredths of a second, into HUNDREDTHS
    guest 300 "read a x </proc/uptime; $1 2>/dev/null || exit 1; read b x </proc/uptime; echo from \$a to \$b." ||
        fail "the guest cannot \`$1\`: $OUTPUT"
    [[ $OUTPUT =~ from\ ([0-9]+).([0-9]+)\ to\ ([0-9]+).([0-9]+) ]] || fail "no time: $OUTPUT"
    HUNDREDTHS=$((10#${BASH_REMATCH[3]}${BASH_REMATCH[4]} - 10#${BASH_REMATCH[1]}${BASH_REMATCH[2]}))
}

rate() { # NAME COUNT: a second, in the time taken
    local rate=$(($2 * 10000 / HUNDREDTHS))
    printf 'figure %s %d.%02d\n' "$1" $((rate / 100)) $((rate % 100))
}

throughput() { # NAME DEVICE READS: of a guest's disk of 64 MB, past the guest's cache; so many small reads, a multiple of 8
    local write="dd if=/dev/zero of=$2 bs=1M count=64 oflag=direct"
    local read="dd if=$2 of=/dev/null bs=1M count=64 iflag=direct"
    local some="dd if=$2 of=/dev/null bs=4k iflag=direct"
    # The first time makes the file.
    timed_in_guest "$write"
    timed_in_guest "$write 2>/dev/null && $write"
    rate "$1-write" 128
    timed_in_guest "$read 2>/dev/null && $read"
    rate "$1-read" 128
    timed_in_guest "$some count=$3"
    rate "$1-one" $3
    # A process for each read of a random place would be what is measured.
    timed_in_guest "{ for at in 0 7 2 5 1 6 3 4; do $some skip=\$((at * 2048)) count=$(($3 / 8)) & done; wait; }"
    rate "$1-random" $3
}
