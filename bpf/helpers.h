/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's helpers by their numbers, and its constants (include/uapi/linux/bpf.h). BCC's own
 * headers have the same under other names; declared here, any clang compiles the program.
 */
#ifndef VT_HELPERS_H
#define VT_HELPERS_H

#include "types.h"

static void *(*const vt_map_lookup)(void *map, const void *key) = (void *)1;
static long (*const vt_map_update)(void *map, const void *key, const void *value,
				   u64 flags) = (void *)2;
static long (*const vt_map_delete)(void *map, const void *key) = (void *)3;
static u64 (*const vt_ktime_ns)(void) = (void *)5;
static u32 (*const vt_cpu)(void) = (void *)8;
static u64 (*const vt_pid_tgid)(void) = (void *)14;
static long (*const vt_comm)(void *to, u32 size) = (void *)16;
static long (*const vt_read)(void *to, u32 size, const void *from) = (void *)113;
static long (*const vt_read_str)(void *to, u32 size, const void *from) = (void *)115;
static void *(*const vt_ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*const vt_ringbuf_submit)(void *record, u64 flags) = (void *)132;
static u64 (*const vt_attach_cookie)(void *context) = (void *)174; /* since Linux 5.15 */

#define VT_BPF_NOEXIST 1
#define VT_BPF_RB_NO_WAKEUP 1
#define VT_BPF_RB_FORCE_WAKEUP 2

/*
 * An instruction that loads a map or the address of its value: BPF_PSEUDO_MAP_FD is 1,
 * BPF_PSEUDO_MAP_VALUE is 2. Our immediate is the map's number (maps.h); whoever loads the program
 * replaces it by a file descriptor.
 */
u64 vt_pseudo(u64 kind, u64 number) asm("llvm.bpf.pseudo");
#define VT_MAP(number) ((void *)vt_pseudo(1, number))
#define VT_VALUE(number) ((void *)vt_pseudo(2, number))

#endif
