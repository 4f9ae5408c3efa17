/*
 * The virtio NIC's control queue (VIRTIO 1.2, 5.1.6.5). We have little to say: which frames we
 * want, our address where the device has none, and that an announcement was made. Nobody waits for
 * an answer: the device takes commands in order, and each has its own place to write its answer,
 * which is looked at when the next one is sent or the device next interrupts. A device that does
 * not answer costs a counter, no time.
 */
#define pr_fmt(fmt) "virtio_net: " fmt

#include "drivers/net/virtio_net.h"

#include "drivers/virtio/virtio.h"
#include "kernel/lib/errno.h"
#include "kernel/mm.h"
#include "kernel/printk.h"

/* Classes and their commands (5.1.6.5.1, .2 and .4): numbers. */
#define VIRTIO_NET_CTRL_RX 0
#define VIRTIO_NET_CTRL_RX_PROMISC 0
#define VIRTIO_NET_CTRL_RX_ALLMULTI 1
#define VIRTIO_NET_CTRL_MAC 1
#define VIRTIO_NET_CTRL_MAC_ADDR_SET 1
#define VIRTIO_NET_CTRL_ANNOUNCE 3
#define VIRTIO_NET_CTRL_ANNOUNCE_ACK 0

#define VIRTIO_NET_OK 0
#define NO_ANSWER 0xff /* until the device has written */

void virtnet_ctrl_reap(struct virtnet_info *vi)
{
	struct control_queue *ctrl = &vi->ctrl;
	struct virtnet_ctrl_cmd *c;
	u32 len;

	while (ctrl->vq && (c = virtqueue_get_buf(ctrl->vq, &len))) {
		c->busy = false;
		if (READ_ONCE(c->ack) == VIRTIO_NET_OK && len == sizeof(c->ack))
			continue;
		ctrl->errors++;
		pr_warn_ratelimited("%s: command %u.%u refused\n", vi->dev.name, c->class, c->cmd);
	}
	if (ctrl->vq && unlikely(virtqueue_is_broken(ctrl->vq)))
		virtnet_schedule_reset(vi);
}

static void virtnet_send_command(struct virtnet_info *vi, u8 class, u8 cmd, const u8 *data, u32 len)
{
	struct control_queue *ctrl = &vi->ctrl;
	struct virtnet_ctrl_cmd *c = ctrl->cmds, *end = c + VIRTNET_CTRL_CMDS;
	struct virtio_sg sg[2];

	virtnet_ctrl_reap(vi);
	while (c < end && c->busy)
		c++;
	if (c == end) {
		ctrl->errors++;
		return;
	}
	c->class = class;
	c->cmd = cmd;
	c->ack = NO_ANSWER;
	for (u32 i = 0; i < len; i++)
		c->data[i] = data[i];
	sg[0] = (struct virtio_sg){ virt_to_phys(&c->class),
				    offsetof(struct virtnet_ctrl_cmd, data) + len };
	sg[1] = (struct virtio_sg){ virt_to_phys(&c->ack), sizeof(c->ack) };
	if (virtqueue_add_sgs(ctrl->vq, sg, 1, 1, c)) {
		ctrl->errors++;
		return;
	}
	c->busy = true;
	ctrl->commands++;
	(void)virtqueue_kick(ctrl->vq); /* broken: reap sees to it */
	virtnet_ctrl_reap(vi);
}

void virtnet_ctrl_open(struct virtnet_info *vi)
{
	static const u8 on = 1, off = 0;

	if (!vi->ctrl.vq)
		return;
	if (vi->own_mac && virtio_has_feature(vi->vdev, VIRTIO_NET_F_CTRL_MAC_ADDR))
		virtnet_send_command(vi, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
				     vi->dev.dev_addr, ETH_ALEN);
	if (!virtio_has_feature(vi->vdev, VIRTIO_NET_F_CTRL_RX))
		return;
	/*
	 * Multicast groups come and go with the stack, and the table for them is short: all of
	 * them. A device lets everything through until told otherwise, but each frame for somebody
	 * else would cost an interrupt. It can only hold back what is not ours if it knows what is.
	 */
	virtnet_send_command(vi, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, &on, 1);
	if (!vi->own_mac)
		virtnet_send_command(vi, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1);
}

void virtnet_ctrl_announce(struct virtnet_info *vi)
{
	if (!vi->ctrl.vq || !virtio_has_feature(vi->vdev, VIRTIO_NET_F_GUEST_ANNOUNCE))
		return;
	vi->ctrl.announces++;
	netdev_notify_peers(&vi->dev);
	/* 5.1.6.5.4: after the announcement; the device clears its bit. */
	virtnet_send_command(vi, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0);
}

void virtnet_ctrl_forget(struct virtnet_info *vi)
{
	struct control_queue *ctrl = &vi->ctrl;
	struct virtnet_ctrl_cmd *c;

	while (ctrl->vq && (c = virtqueue_detach_unused_buf(ctrl->vq)))
		c->busy = false;
	ctrl->vq = NULL;
}
