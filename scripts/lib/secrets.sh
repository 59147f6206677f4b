# shellcheck shell=bash
# Random values from the operating system. Source this file.

# Prints $1 random bytes in lowercase hexadecimal.
random_hex() { head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

# Prints $1 random bytes in base64. `base64` and `openssl` may be missing; awk is not.
random_base64() {
    head -c "$1" /dev/urandom | od -An -v -tu1 | awk '
        BEGIN { digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" }
        { for (i = 1; i <= NF; i++) bytes[n++] = $i }
        END {
            for (i = 0; i < n; i += 3) {
                a = bytes[i]; b = (i + 1 < n) ? bytes[i + 1] : 0; c = (i + 2 < n) ? bytes[i + 2] : 0
                w = a * 65536 + b * 256 + c
                out = out substr(digits, int(w / 262144) % 64 + 1, 1) substr(digits, int(w / 4096) % 64 + 1, 1)
                out = out (i + 1 < n ? substr(digits, int(w / 64) % 64 + 1, 1) : "=")
                out = out (i + 2 < n ? substr(digits, w % 64 + 1, 1) : "=")
            }
            print out
        }'
}
