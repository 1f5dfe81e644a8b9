/*
 * ptrace(2) for a User-Mode Linux kernel before 6.13 on a processor with AMX.
 *
 * Such a kernel keeps 2,696 octets for the vector registers (the "xstate") of a guest's process.  AMX makes them
 * 11,008 octets, and the host takes back the whole of them or nothing: the guest's first process would be killed.
 * Loaded before libc, this sends what the kernel has together with the rest as the host has it.
 */
typedef unsigned long word;

struct piece {
	char *start;
	word length;
};

enum { PEEK_FIRST = 1, PEEK_LAST = 3, GETREGSET = 0x4204, SETREGSET = 0x4205, NT_X86_XSTATE = 0x202, SYS_PTRACE = 101 };

long syscall(long number, ...);

static char room[65536];

static void copy(char *to, const char *from, word length)
{
	while (length--)
		*to++ = *from++;
}

long ptrace(int request, int process, word address, void *data)
{
	struct piece whole = { room, sizeof room };
	struct piece *part = data;
	word value;

	if (request >= PEEK_FIRST && request <= PEEK_LAST) /* libc gives the word that the system call writes */
		return syscall(SYS_PTRACE, (long)request, (long)process, address, &value) < 0 ? -1 : (long)value;
	if ((request != GETREGSET && request != SETREGSET) || address != NT_X86_XSTATE)
		return syscall(SYS_PTRACE, (long)request, (long)process, address, data);
	if (syscall(SYS_PTRACE, (long)GETREGSET, (long)process, address, &whole) < 0)
		return -1;
	if (part->length > whole.length)
		part->length = whole.length;
	if (request == GETREGSET) {
		copy(part->start, room, part->length);
		return 0;
	}
	copy(room, part->start, part->length);
	return syscall(SYS_PTRACE, (long)SETREGSET, (long)process, address, &whole);
}
