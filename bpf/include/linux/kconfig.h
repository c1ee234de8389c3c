/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * BCC includes this file before every program it compiles. The files in this folder replace the
 * kernel's headers, which BCC's headers ask for and our program does not use.
 */
#ifndef VT_KCONFIG_H
#define VT_KCONFIG_H

#define CONFIG_BPF_SYSCALL 1

#include <linux/types.h>

#endif
