/* SPDX-License-Identifier: GPL-2.0-or-later */
/* BCC includes this, and uses nothing in it. */
