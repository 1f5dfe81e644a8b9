/*
 * ptrace(2) for a User-Mode Linux kernel before 6.13 on a processor with AMX.
 *
 * Such a kernel keeps 2,696 octets for the vector registers (the "xstate") of a guest's process.  AMX makes them
 * 11,008 octets, and the host takes the whole of them or nothing: the guest's first process would be killed.
 * Loaded before libc, this adds the rest, which no process of a guest uses.
 */
typedef unsigned long word;

struct piece {
	char *start;
	word length;
};

enum { PEEK_FIRST = 1, PEEK_LAST = 3, GETREGSET = 0x4204, SETREGSET = 0x4205, NT_X86_XSTATE = 0x202, SYS_PTRACE = 101 };

long syscall(long number, ...);

static char room[65536];
static word size; /* of all registers */

long ptrace(int request, int process, word address, void *data)
{
	struct piece whole = { room, size ? size : sizeof room };
	word value;

	if (request >= PEEK_FIRST && request <= PEEK_LAST) /* libc gives the word that the system call writes */
		return syscall(SYS_PTRACE, (long)request, (long)process, address, &value) < 0 ? -1 : (long)value;
	if (request == SETREGSET && address == NT_X86_XSTATE) {
		struct piece *part = data;

		if (!size) {
			if (syscall(SYS_PTRACE, (long)GETREGSET, (long)process, address, &whole) < 0)
				return -1;
			size = whole.length;
		}
		if (part->length < size) {
			__builtin_memcpy(room, part->start, part->length);
			data = &whole;
		}
	}
	return syscall(SYS_PTRACE, (long)request, (long)process, address, data);
}
