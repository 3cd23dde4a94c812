/* What saving and loading a bridge share: the bytes are those of proto/network.proto. Internal to the switch. */
#ifndef PV_VMCTL_NET_STATE_H
#define PV_VMCTL_NET_STATE_H

#include "proto/network.pb-c.h"
#include "vmctl/net_switch_internal.h"

#define STATE_MAGIC     "PVNET1\0"
#define STATE_MAGIC_LEN 8u
#define STATE_HEAD_LEN  12u /* and the CRC */
#define STATE_FORMAT    1u

#endif
