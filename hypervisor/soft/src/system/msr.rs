//! Model-specific registers.

use serde::{Deserialize, Serialize};

/// The registers that are only stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Msrs {
    /// IA32_EFER.
    pub efer: u64,
    /// STAR: selectors of SYSCALL and SYSRET.
    pub star: u64,
    /// LSTAR: target of SYSCALL in 64-bit mode.
    pub lstar: u64,
    /// CSTAR: target in compatibility mode.
    pub cstar: u64,
    /// SFMASK: flags that SYSCALL clears.
    pub sfmask: u64,
    /// KernelGSbase, exchanged by SWAPGS.
    pub kernel_gs: u64,
    /// IA32_SYSENTER_CS.
    pub sysenter_cs: u64,
    /// IA32_SYSENTER_ESP.
    pub sysenter_esp: u64,
    /// IA32_SYSENTER_EIP.
    pub sysenter_eip: u64,
    /// IA32_PAT.
    pub pat: u64,
    /// IA32_TSC_AUX.
    pub tsc_aux: u64,
    /// What the TSC is ahead of guest time, in ticks.
    pub tsc_offset: u64,
    /// IA32_TSC_ADJUST.
    pub tsc_adjust: u64,
    /// IA32_MISC_ENABLE.
    pub misc_enable: u64,
    /// IA32_MTRR_DEF_TYPE.
    pub mtrr_def_type: u64,
    /// Fixed-range MTRRs: 64K, 16K x2, 4K x8.
    pub mtrr_fixed: [u64; 11],
    /// Variable-range MTRRs: base and mask in turn.
    pub mtrr_var: [u64; 16],
    /// Machine check: bank control, status, address, misc of each bank in turn.
    pub mc: [[u64; 4]; 10],
    /// MCG_STATUS.
    pub mcg_status: u64,
    /// MCG_CTL.
    pub mcg_ctl: u64,
    /// IA32_FEATURE_CONTROL.
    pub feature_control: u64,
    /// Microcode revision written by the guest's check.
    pub bios_sign: u64,
}

impl Default for Msrs {
    fn default() -> Msrs {
        Msrs {
            efer: 0,
            star: 0,
            lstar: 0,
            cstar: 0,
            sfmask: 0,
            kernel_gs: 0,
            sysenter_cs: 0,
            sysenter_esp: 0,
            sysenter_eip: 0,
            pat: 0x0007_0406_0007_0406,
            tsc_aux: 0,
            tsc_offset: 0,
            tsc_adjust: 0,
            misc_enable: 1,
            mtrr_def_type: 0,
            mtrr_fixed: [0; 11],
            mtrr_var: [0; 16],
            mc: [[0; 4]; 10],
            mcg_status: 0,
            mcg_ctl: u64::MAX,
            feature_control: 1,
            bios_sign: 0x0000_0001_0000_0000,
        }
    }
}

use crate::cpu::{Cpu, Exec, Fault, RAX, RCX, RDX, seg};
use crate::op::Op;
use crate::system::bits::{cr0, efer};

fn canonical(a: u64) -> bool {
    (a as i64) << 16 >> 16 == a as i64
}

fn pat_is_good(v: u64) -> bool {
    v.to_le_bytes().iter().all(|b| matches!(b, 0 | 1 | 4..=7))
}

fn fixed_mtrr(n: u32) -> Option<usize> {
    match n {
        0x250 => Some(0),
        0x258 | 0x259 => Some(n as usize - 0x258 + 1),
        0x268..=0x26f => Some(n as usize - 0x268 + 3),
        _ => None,
    }
}

impl Cpu {
    /// The TSC now.
    pub(crate) fn tsc(&self) -> u64 {
        self.now().wrapping_add(self.msr.tsc_offset)
    }

    /// Reads a register; #GP for what does not exist.
    pub(crate) fn read_msr(&mut self, n: u32) -> Result<u64, Fault> {
        let m = &self.msr;
        Ok(match n {
            0x10 => self.tsc(),
            0x3b => m.tsc_adjust,
            0x1b => self.apic_base(),
            0x3a => m.feature_control,
            0x8b => m.bios_sign,
            0xfe => 8 | 1 << 8 | 1 << 10,
            0x174 => m.sysenter_cs,
            0x175 => m.sysenter_esp,
            0x176 => m.sysenter_eip,
            0x179 => m.mc.len() as u64 | 1 << 8,
            0x17a => m.mcg_status,
            0x17b => m.mcg_ctl,
            0x1a0 => m.misc_enable,
            0x200..=0x20f => m.mtrr_var[n as usize & 15],
            0x277 => m.pat,
            0x2ff => m.mtrr_def_type,
            0x400..=0x427 => m.mc[(n as usize - 0x400) / 4][n as usize & 3],
            0x6e0 => return Ok(self.apic_deadline()),
            0x800..=0x8ff => return self.x2apic_read(n),
            0xc000_0080 => m.efer,
            0xc000_0081 => m.star,
            0xc000_0082 => m.lstar,
            0xc000_0083 => m.cstar,
            0xc000_0084 => m.sfmask,
            0xc000_0100 => self.seg[seg::FS].base,
            0xc000_0101 => self.seg[seg::GS].base,
            0xc000_0102 => m.kernel_gs,
            0xc000_0103 => m.tsc_aux,
            _ => match fixed_mtrr(n) {
                Some(at) => m.mtrr_fixed[at],
                None if lenient(n) => 0,
                None => return Err(self.gp(0)),
            },
        })
    }

    /// Writes a register.
    pub(crate) fn write_msr(&mut self, n: u32, v: u64) -> Exec {
        let needs_canonical =
            matches!(n, 0xc000_0082 | 0xc000_0083 | 0xc000_0100..=0xc000_0102 | 0x175 | 0x176);
        if needs_canonical && !canonical(v) {
            return Err(self.gp(0));
        }
        match n {
            0x10 => {
                let delta = v.wrapping_sub(self.tsc());
                self.move_tsc(delta);
            }
            0x3b => {
                let delta = v.wrapping_sub(self.msr.tsc_adjust);
                self.move_tsc(delta);
            }
            0x1b => return self.set_apic_base(v),
            0x3a => self.msr.feature_control = v | 1,
            0x8b => self.msr.bios_sign = 1 << 32,
            0x174 => self.msr.sysenter_cs = v,
            0x175 => self.msr.sysenter_esp = v,
            0x176 => self.msr.sysenter_eip = v,
            0x17a => self.msr.mcg_status = v,
            0x17b => self.msr.mcg_ctl = v,
            0x1a0 => self.msr.misc_enable = v,
            0x200..=0x20f => self.msr.mtrr_var[n as usize & 15] = v,
            0x277 if pat_is_good(v) => self.msr.pat = v,
            0x2ff => self.msr.mtrr_def_type = v & 0xcff,
            // The status of a bank can be cleared, not set: HWCR.McStatusWrEn stays clear here.
            0x400..=0x427 if n & 3 == 1 && v != 0 => return Err(self.gp(0)),
            0x400..=0x427 => self.msr.mc[(n as usize - 0x400) / 4][n as usize & 3] = v,
            0x6e0 => self.set_apic_deadline(v),
            0x800..=0x8ff => return self.x2apic_write(n, v),
            0xc000_0080 => return self.write_efer(v),
            0xc000_0081 => self.msr.star = v,
            0xc000_0082 => self.msr.lstar = v,
            0xc000_0083 => self.msr.cstar = v,
            0xc000_0084 => self.msr.sfmask = v & 0xffff_ffff,
            0xc000_0100 => self.set_base(seg::FS, v),
            0xc000_0101 => self.set_base(seg::GS, v),
            0xc000_0102 => self.msr.kernel_gs = v,
            0xc000_0103 => self.msr.tsc_aux = v & 0xffff_ffff,
            _ => match fixed_mtrr(n) {
                Some(at) => self.msr.mtrr_fixed[at] = v,
                None if lenient(n) => {}
                None => return Err(self.gp(0)),
            },
        }
        Ok(())
    }

    fn move_tsc(&mut self, delta: u64) {
        self.msr.tsc_offset = self.msr.tsc_offset.wrapping_add(delta);
        self.msr.tsc_adjust = self.msr.tsc_adjust.wrapping_add(delta);
        self.rearm_deadline();
    }

    fn write_efer(&mut self, v: u64) -> Exec {
        let known = efer::SCE | efer::LME | efer::LMA | efer::NXE;
        let changed = self.msr.efer ^ v;
        if v & !known != 0 || changed & efer::LME != 0 && self.cr0 & cr0::PG != 0 {
            return Err(self.gp(0));
        }
        self.msr.efer = self.msr.efer & efer::LMA | v & !efer::LMA;
        if changed & efer::NXE != 0 {
            self.flush_tlb(true);
        }
        self.mode_changed();
        Ok(())
    }
}

/// Registers that systems touch without a guard on processors like this one: zero, and writes are dropped.
/// AMD's own range, performance counters, debug control, power and platform information.
fn lenient(n: u32) -> bool {
    matches!(n, 0xc001_0000..=0xc001_1fff | 0xc1..=0xc8 | 0x186..=0x18d | 0x1d9 | 0x1db..=0x1de | 0x38d..=0x391
        | 0xce | 0x17 | 0x2a | 0x2c | 0x34 | 0x35 | 0xe7 | 0xe8 | 0x198 | 0x199 | 0x19a..=0x19c | 0x1a2 | 0x1aa
        | 0x1ad | 0x1b0 | 0x1fc | 0x345 | 0x3f1 | 0x79 | 0xcd | 0x140 | 0x611 | 0x606)
}

/// RDMSR.
pub(super) fn rdmsr(cpu: &mut Cpu, _: &Op) -> Exec {
    if cpu.cpl != 0 {
        return Err(cpu.gp(0));
    }
    let v = cpu.read_msr(cpu.gpr[RCX] as u32)?;
    (cpu.gpr[RAX], cpu.gpr[RDX]) = (v & 0xffff_ffff, v >> 32);
    Ok(())
}

/// WRMSR.
pub(super) fn wrmsr(cpu: &mut Cpu, _: &Op) -> Exec {
    if cpu.cpl != 0 {
        return Err(cpu.gp(0));
    }
    let v = cpu.gpr[RAX] & 0xffff_ffff | cpu.gpr[RDX] << 32;
    cpu.write_msr(cpu.gpr[RCX] as u32, v)
}
