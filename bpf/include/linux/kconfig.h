/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * BCC includes this file before every program it compiles. The files in this folder replace the
 * kernel's headers, which the program does not need: it reads the kernel's structs at offsets that
 * the loader takes from BTF.
 */
#ifndef VT_KCONFIG_H
#define VT_KCONFIG_H

#define CONFIG_BPF_SYSCALL 1

#include <linux/types.h>

/* The registers at a probed function's entry and return (arch/.../include/asm/ptrace.h). */
#if defined(__TARGET_ARCH_x86) || defined(bpf_target_x86) || defined(__x86_64__)
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx;
	unsigned long r11, r10, r9, r8, ax, cx, dx, si, di;
	unsigned long orig_ax, ip, cs, flags, sp, ss;
};
#elif defined(__TARGET_ARCH_arm64) || defined(bpf_target_arm64) || defined(__aarch64__)
struct pt_regs {
	unsigned long regs[31];
	unsigned long sp, pc, pstate;
};
#else
#error "virtio-trace does not support this architecture: add its struct pt_regs"
#endif

#endif
