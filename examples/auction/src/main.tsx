import { mount } from '@examples/theme'
import { AuctionRoom } from './AuctionRoom.tsx'

mount(<AuctionRoom />)
