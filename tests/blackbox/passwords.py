# SPDX-License-Identifier: Apache-2.0
"""Lines of a Mosquitto password file, made without the code under test."""
import base64
import ctypes
import ctypes.util
import hashlib
import os


def b64(data):
    return base64.b64encode(data).decode()


def sha512(name, password):
    salt = os.urandom(12)
    return f'{name}:$6${b64(salt)}${b64(hashlib.sha512(password.encode() + salt).digest())}\n'


def pbkdf2(name, password, iterations=101, salt_size=12):
    salt = os.urandom(salt_size)
    digest = hashlib.pbkdf2_hmac('sha512', password.encode(), salt, iterations)
    return f'{name}:$7${iterations}${b64(salt)}${b64(digest)}\n'


def argon2id(name, password, cost_kib=1024):
    lib = ctypes.CDLL(ctypes.util.find_library('argon2') or 'libargon2.so.1')
    salt, out = os.urandom(16), ctypes.create_string_buffer(200)
    raw = password.encode()
    u32, size, text = ctypes.c_uint32, ctypes.c_size_t, ctypes.c_char_p
    lib.argon2id_hash_encoded.argtypes = [u32, u32, u32, text, size, text, size, size, text, size]
    status = lib.argon2id_hash_encoded(1, cost_kib, 1, raw, len(raw), salt, len(salt), 32,
                                       out, len(out))
    assert status == 0
    return f'{name}:{out.value.decode()}\n'
