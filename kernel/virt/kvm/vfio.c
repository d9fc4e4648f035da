/* SPDX-License-Identifier: MIT
 *
 * Problem: VMMs tell KVM which VFIO groups belong to a machine, and some refuse to go on when they cannot.
 *
 * Idea: a device of KVM's that keeps the groups' files until it is closed. The hypervisor itself needs nothing of them
 * here: the devices reach the guest's memory through their container, and interrupts come by event descriptors.
 *
 * Contract: KVM_CREATE_DEVICE with KVM_DEV_TYPE_VFIO, and its attributes, of virt/kvm/devices/vfio.rst. One a machine.
 *
 * Locks: vm->lock.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <lib/err.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>
#include <virt/vfio.h>
#include "kvm_priv.h"

struct group {
	struct list link;
	struct file *file; /* counted */
};

struct vfio_groups {
	struct kvm_vm *vm; /* held */
	struct list groups;
};

static struct group *find(struct vfio_groups *v, struct file *f)
{
	struct group *g;

	list_for_each_entry (g, &v->groups, link)
		if (g->file == f)
			return g;
	return NULL;
}

static int add(struct vfio_groups *v, struct file *f)
{
	struct group *g;

	if (find(v, f))
		return -EEXIST;
	g = kzalloc(sizeof(*g), ALLOC_CHARGED);
	if (!g)
		return -ENOMEM;
	file_get(f);
	g->file = f;
	list_add_tail(&g->link, &v->groups);
	return 0;
}

static int remove(struct vfio_groups *v, struct file *f, struct file **drop)
{
	struct group *g = find(v, f);

	if (!g)
		return -ENOENT;
	list_del(&g->link);
	*drop = g->file;
	kfree(g);
	return 0;
}

static int check_attr(const struct kvm_device_attr *a)
{
	if (a->group != KVM_DEV_VFIO_GROUP || (a->attr != KVM_DEV_VFIO_GROUP_ADD && a->attr != KVM_DEV_VFIO_GROUP_DEL))
		return -ENXIO;
	return 0;
}

static int set_attr(struct vfio_groups *v, const struct kvm_device_attr *a, struct file **drop)
{
	struct fd_ref ref;
	s32 fd;
	int err = check_attr(a);

	if (!err)
		err = user_get(&fd, (const void __user *)a->addr, sizeof(fd));
	if (err)
		return err;
	ref = fd_get(fd);
	if (!ref.file)
		return -EBADF;
	if (a->attr == KVM_DEV_VFIO_GROUP_DEL)
		err = remove(v, ref.file, drop);
	else
		err = vfio_file_is_group(ref.file) ? add(v, ref.file) : -EINVAL;
	fd_put(ref);
	return err;
}

static long device_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	struct vfio_groups *v = f->priv;
	struct kvm_device_attr a;
	struct file *drop = NULL;
	long ret;

	if (cmd != KVM_SET_DEVICE_ATTR && cmd != KVM_HAS_DEVICE_ATTR)
		return cmd == KVM_GET_DEVICE_ATTR ? -EPERM : -ENOTTY;
	ret = user_get(&a, (const void __user *)arg, sizeof(a));
	if (ret)
		return ret;
	if (cmd == KVM_HAS_DEVICE_ATTR)
		return check_attr(&a);
	mutex_lock(&v->vm->lock);
	ret = set_attr(v, &a, &drop);
	mutex_unlock(&v->vm->lock);
	if (drop)
		file_put(drop);
	return ret;
}

static void device_release(struct file *f)
{
	struct vfio_groups *v = f->priv;
	struct group *g, *next;

	list_for_each_entry_safe (g, next, &v->groups, link) {
		file_put(g->file);
		kfree(g);
	}
	WRITE_ONCE(v->vm->has_vfio, false);
	kvm_vm_put(v->vm);
	kfree(v);
}

static const struct file_ops device_ops = { .ioctl = device_ioctl, .release = device_release, .llseek = no_llseek };

static int create(struct kvm_vm *vm)
{
	struct vfio_groups *v;
	struct file *f;
	int fd, err;

	if (vm->has_vfio)
		return -EBUSY;
	v = kzalloc(sizeof(*v), 0);
	if (!v)
		return -ENOMEM;
	v->vm = vm;
	list_init(&v->groups);
	err = file_anon("kvm-vfio", &device_ops, v, O_RDWR, &f);
	if (err) {
		kfree(v);
		return err;
	}
	refcount_inc(&vm->refs);
	vm->has_vfio = true;
	fd = fd_reserve(O_CLOEXEC, 0);
	if (fd < 0)
		file_put(f);
	else
		fd_install(fd, f);
	return fd;
}

int kvm_create_device(struct kvm_vm *vm, struct kvm_create_device __user *arg)
{
	struct kvm_create_device d;
	int err = user_get(&d, arg, sizeof(d));

	if (err)
		return err;
	if (d.type != KVM_DEV_TYPE_VFIO)
		return -ENODEV;
	if (d.flags)
		return d.flags == KVM_CREATE_DEVICE_TEST ? 0 : -EINVAL;
	err = create(vm);
	if (err < 0)
		return err;
	d.fd = (u32)err;
	return user_put(arg, &d, sizeof(d));
}
