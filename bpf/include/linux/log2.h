/* SPDX-License-Identifier: GPL-2.0-or-later */
/* BCC includes this; it uses nothing of it. */
