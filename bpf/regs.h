/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers at a probed function's entry and return: a kprobe program's context, which is
 * struct pt_regs on x86-64 and struct user_pt_regs on arm64 (arch/.../include/uapi/asm/ptrace.h).
 * The machine is that of the kernel that runs the program, not of the one that compiles it.
 */
#ifndef VT_REGS_H
#define VT_REGS_H

#include "types.h"

#if defined(VT_MACHINE_X86_64)
struct vt_regs {
	u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
	u64 orig_ax, ip, cs, flags, sp, ss;
};
#define ARG1(regs) ((regs)->di)
#define ARG2(regs) ((regs)->si)
#define ARG4(regs) ((regs)->cx)
#define ARG6(regs) ((regs)->r9)
#define RESULT(regs) ((regs)->ax)
#elif defined(VT_MACHINE_ARM64)
struct vt_regs {
	u64 regs[31];
	u64 sp, pc, pstate;
};
#define ARG1(r) ((r)->regs[0])
#define ARG2(r) ((r)->regs[1])
#define ARG4(r) ((r)->regs[3])
#define ARG6(r) ((r)->regs[5])
#define RESULT(r) ((r)->regs[0])
#else
#error "define VT_MACHINE_X86_64 or VT_MACHINE_ARM64; another machine needs its registers here"
#endif

#endif
