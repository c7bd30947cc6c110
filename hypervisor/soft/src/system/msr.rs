//! Model-specific registers.

use serde::{Deserialize, Serialize};

/// The registers that are only stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
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
