#if canImport(CryptoKit)
import CryptoKit
import Foundation
#endif

/// The sha256 of bytes, in hexadecimal: by Apple's library where it is, elsewhere as FIPS 180-4 says.
enum Sha256 {
    static func of(_ bytes: [UInt8]) -> String {
        #if canImport(CryptoKit)
        return hexadecimal(Array(SHA256.hash(data: Data(bytes))))
        #else
        return portable(bytes)
        #endif
    }

    static func portable(_ bytes: [UInt8]) -> String {
        var state: [UInt32] = initial
        var words: [UInt32] = [UInt32](repeating: 0, count: 64)
        var block: Int = 0
        while block + 64 <= bytes.count {
            mix(&state, &words, bytes, block)
            block += 64
        }
        var tail: [UInt8] = Array(bytes[block..<bytes.count])
        tail.append(0x80)
        while tail.count % 64 != 56 {
            tail.append(0)
        }
        let bits: UInt64 = UInt64(bytes.count) * 8
        var shift: UInt64 = 56
        for _ in 0..<8 {
            tail.append(UInt8((bits >> shift) & 0xFF))
            shift = shift &- 8
        }
        var at: Int = 0
        while at < tail.count {
            mix(&state, &words, tail, at)
            at += 64
        }
        var digest: [UInt8] = []
        for word in state {
            digest.append(UInt8(word >> 24))
            digest.append(UInt8((word >> 16) & 0xFF))
            digest.append(UInt8((word >> 8) & 0xFF))
            digest.append(UInt8(word & 0xFF))
        }
        return hexadecimal(digest)
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        let digits: [UInt8] = Array("0123456789abcdef".utf8)
        var results: [UInt8] = []
        for byte in bytes {
            results.append(digits[Int(byte >> 4)])
            results.append(digits[Int(byte & 15)])
        }
        return String(decoding: results, as: UTF8.self)
    }

    private static func turned(_ word: UInt32, _ bits: UInt32) -> UInt32 {
        return (word >> bits) | (word << (32 - bits))
    }

    private static func mix(_ state: inout [UInt32], _ words: inout [UInt32], _ bytes: [UInt8], _ from: Int) {
        for i in 0..<16 {
            let at: Int = from + 4 * i
            let high: UInt32 = (UInt32(bytes[at]) << 24) | (UInt32(bytes[at + 1]) << 16)
            let low: UInt32 = (UInt32(bytes[at + 2]) << 8) | UInt32(bytes[at + 3])
            words[i] = high | low
        }
        for i in 16..<64 {
            let a: UInt32 = words[i - 15]
            let b: UInt32 = words[i - 2]
            let first: UInt32 = turned(a, 7) ^ turned(a, 18) ^ (a >> 3)
            let second: UInt32 = turned(b, 17) ^ turned(b, 19) ^ (b >> 10)
            words[i] = words[i - 16] &+ first &+ words[i - 7] &+ second
        }
        var v: [UInt32] = state
        for i in 0..<64 {
            let turnedE: UInt32 = turned(v[4], 6) ^ turned(v[4], 11) ^ turned(v[4], 25)
            let choice: UInt32 = (v[4] & v[5]) ^ (~v[4] & v[6])
            let one: UInt32 = v[7] &+ turnedE &+ choice &+ constants[i] &+ words[i]
            let turnedA: UInt32 = turned(v[0], 2) ^ turned(v[0], 13) ^ turned(v[0], 22)
            let majority: UInt32 = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2])
            let two: UInt32 = turnedA &+ majority
            v[7] = v[6]
            v[6] = v[5]
            v[5] = v[4]
            v[4] = v[3] &+ one
            v[3] = v[2]
            v[2] = v[1]
            v[1] = v[0]
            v[0] = one &+ two
        }
        for i in 0..<8 {
            state[i] = state[i] &+ v[i]
        }
    }

    private static let initial: [UInt32] = [
        0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19,
    ]

    private static let constants: [UInt32] = [
        0x428A_2F98, 0x7137_4491, 0xB5C0_FBCF, 0xE9B5_DBA5, 0x3956_C25B, 0x59F1_11F1, 0x923F_82A4, 0xAB1C_5ED5,
        0xD807_AA98, 0x1283_5B01, 0x2431_85BE, 0x550C_7DC3, 0x72BE_5D74, 0x80DE_B1FE, 0x9BDC_06A7, 0xC19B_F174,
        0xE49B_69C1, 0xEFBE_4786, 0x0FC1_9DC6, 0x240C_A1CC, 0x2DE9_2C6F, 0x4A74_84AA, 0x5CB0_A9DC, 0x76F9_88DA,
        0x983E_5152, 0xA831_C66D, 0xB003_27C8, 0xBF59_7FC7, 0xC6E0_0BF3, 0xD5A7_9147, 0x06CA_6351, 0x1429_2967,
        0x27B7_0A85, 0x2E1B_2138, 0x4D2C_6DFC, 0x5338_0D13, 0x650A_7354, 0x766A_0ABB, 0x81C2_C92E, 0x9272_2C85,
        0xA2BF_E8A1, 0xA81A_664B, 0xC24B_8B70, 0xC76C_51A3, 0xD192_E819, 0xD699_0624, 0xF40E_3585, 0x106A_A070,
        0x19A4_C116, 0x1E37_6C08, 0x2748_774C, 0x34B0_BCB5, 0x391C_0CB3, 0x4ED8_AA4A, 0x5B9C_CA4F, 0x682E_6FF3,
        0x748F_82EE, 0x78A5_636F, 0x84C8_7814, 0x8CC7_0208, 0x90BE_FFFA, 0xA450_6CEB, 0xBEF9_A3F7, 0xC671_78F2,
    ]
}
