/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Our integers, and those that only BCC's own headers use. */
#ifndef VT_LINUX_TYPES_H
#define VT_LINUX_TYPES_H

#include "../../types.h"

typedef __u16 __le16, __be16, __sum16;
typedef __u32 __le32, __be32, __wsum;
typedef __u64 __le64, __be64;
typedef __u64 __attribute__((aligned(8))) __aligned_u64;
typedef unsigned long size_t;
typedef unsigned long uintptr_t;
typedef int pid_t;

#endif
