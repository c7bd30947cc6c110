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
