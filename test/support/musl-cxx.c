// What Debian's libstdc++.a asks of glibc and musl does not have, for the stand-in of `test/support/musl-root.sh`.
// No header is included: one file serves both architectures, whichever libc the compiler knows.
// Exceptions find no tables here (`_dl_find_object`), so nothing can be caught: enough for tests, and for nothing else.

typedef __builtin_va_list arguments;
typedef __SIZE_TYPE__ size;
int vsprintf(char *, const char *, arguments);
int vsnprintf(char *, size, const char *, arguments);
int vfprintf(void *, const char *, arguments);
size fread(void *, size, size, void *);
long read(int, void *, size);
long getrandom(void *, size, unsigned);
void *memcpy(void *, const void *, size);
void *memset(void *, int, size);
char *strcpy(char *, const char *);
char *strcat(char *, const char *);
unsigned long getauxval(unsigned long);

char __libc_single_threaded = 0;

int __sprintf_chk(char *to, int flag, size room, const char *format, ...) {
  arguments list;
  __builtin_va_start(list, format);
  int count = vsprintf(to, format, list);
  __builtin_va_end(list);
  return count;
}

int __snprintf_chk(char *to, size most, int flag, size room, const char *format, ...) {
  arguments list;
  __builtin_va_start(list, format);
  int count = vsnprintf(to, most, format, list);
  __builtin_va_end(list);
  return count;
}

int __fprintf_chk(void *file, int flag, const char *format, ...) {
  arguments list;
  __builtin_va_start(list, format);
  int count = vfprintf(file, format, list);
  __builtin_va_end(list);
  return count;
}

int __vsnprintf_chk(char *to, size most, int flag, size room, const char *format, arguments list) {
  return vsnprintf(to, most, format, list);
}
void *__memcpy_chk(void *to, const void *from, size count, size room) { return memcpy(to, from, count); }
void *__memset_chk(void *to, int value, size count, size room) { return memset(to, value, count); }
size __fread_chk(void *to, size room, size each, size count, void *file) { return fread(to, each, count, file); }
char *__strcpy_chk(char *to, const char *from, size room) { return strcpy(to, from); }
char *__strcat_chk(char *to, const char *from, size room) { return strcat(to, from); }
long __read_chk(int file, void *to, size count, size room) { return read(file, to, count); }

unsigned arc4random(void) {
  unsigned value;
  getrandom(&value, sizeof value, 0);
  return value;
}

int _dl_find_object(void *address, void *result) { return -1; }
unsigned long __getauxval(unsigned long kind) { return getauxval(kind); }
